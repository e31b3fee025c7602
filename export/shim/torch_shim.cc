#include "limbeck-export/shim/torch_shim.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <stdexcept>
#include <vector>

#include "limbeck-export/src/shim.rs.h"

namespace limbeck::shim {
namespace {

const at::Tensor &tensor_at(std::size_t address) {
  return *reinterpret_cast<const at::Tensor *>(address);
}

std::vector<at::Tensor> tensors_at(rust::Slice<const std::size_t> addresses) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(addresses.size());
  for (std::size_t address : addresses) tensors.push_back(tensor_at(address));
  return tensors;
}

// Copies of another kind, in few kernels however many there are.
std::vector<at::Tensor> copies_of(at::TensorList tensors, at::ScalarType kind) {
  std::vector<at::Tensor> copies;
  copies.reserve(tensors.size());
  for (const auto &tensor : tensors) {
    copies.push_back(at::empty_like(tensor, tensor.options().dtype(kind), at::MemoryFormat::Contiguous));
  }
  if (!copies.empty()) at::_foreach_copy_(copies, tensors);
  return copies;
}

struct Bf16Copies : torch::autograd::Function<Bf16Copies> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext *context,
                                                at::TensorList tensors) {
    context->set_materialize_grads(false);
    return copies_of(tensors, at::kBFloat16);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *,
                                                 torch::autograd::variable_list gradients) {
    std::vector<at::Tensor> defined;
    for (const auto &gradient : gradients) {
      if (gradient.defined()) defined.push_back(gradient);
    }
    auto copies = copies_of(defined, at::kFloat);
    auto next = copies.begin();
    for (auto &gradient : gradients) {
      if (gradient.defined()) gradient = *next++;
    }
    return gradients;
  }
};

at::DeviceType device_of(bool cuda) { return cuda ? at::kCUDA : at::kCPU; }

}  // namespace

void fused_adamw(rust::Slice<const std::size_t> parameters, rust::Slice<const std::size_t> gradients,
                 rust::Slice<const std::size_t> first_moments, rust::Slice<const std::size_t> second_moments,
                 std::size_t step, std::size_t grad_scale, std::size_t stopped, double learning_rate, double beta1,
                 double beta2, double weight_decay, double epsilon) {
  at::NoGradGuard no_grad;
  const auto weights = tensors_at(parameters);
  const std::vector<at::Tensor> steps(weights.size(), tensor_at(step));
  at::_fused_adamw_(weights, tensors_at(gradients), tensors_at(first_moments), tensors_at(second_moments), {}, steps,
                    learning_rate, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false,
                    std::optional<at::Tensor>(tensor_at(grad_scale)), std::optional<at::Tensor>(tensor_at(stopped)));
}

void global_norm(rust::Slice<const std::size_t> tensors, std::size_t result) {
  at::NoGradGuard no_grad;
  const auto norms = at::_foreach_norm(tensors_at(tensors));
  *reinterpret_cast<at::Tensor *>(result) = at::stack(norms).square().sum().sqrt();
}

void bf16_copies(rust::Slice<const std::size_t> tensors, rust::Slice<const std::size_t> copies) {
  // A list of this type alone is looked through for variables.
  const auto originals = tensors_at(tensors);
  const auto made = Bf16Copies::apply(at::TensorList(originals));
  if (made.size() != copies.size()) throw std::invalid_argument("lists of unequal lengths");
  for (std::size_t i = 0; i < made.size(); ++i) *reinterpret_cast<at::Tensor *>(copies[i]) = made[i];
}

void pinned(std::size_t tensor, std::size_t result) {
  *reinterpret_cast<at::Tensor *>(result) = tensor_at(tensor).pin_memory();
}

void norm_as_it_is(std::size_t input, std::size_t weight, std::size_t bias, double epsilon, std::size_t result) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto &scale = tensor_at(weight);
  *reinterpret_cast<at::Tensor *>(result) =
      at::layer_norm(tensor_at(input), scale.sizes(), scale, tensor_at(bias), epsilon);
}

Underway::Underway(const at::Tensor &source) : copy_(source.to(at::kCPU, /*non_blocking=*/true, /*copy=*/true)) {
  if (source.is_cpu()) return;
  done_.emplace(source.device().type());
  done_->record(c10::impl::VirtualGuardImpl(source.device().type()).getStream(source.device()));
}

void Underway::arrived(std::size_t result) const {
  if (done_) done_->synchronize();
  *reinterpret_cast<at::Tensor *>(result) = copy_;
}

std::unique_ptr<Underway> underway(std::size_t tensor) { return std::make_unique<Underway>(tensor_at(tensor).detach()); }

void no_cudnn_attention() noexcept { at::globalContext().setSDPUseCuDNN(false); }

AutocastState autocast_bf16(bool cuda) {
  const auto device = device_of(cuda);
  const AutocastState before{cuda, at::autocast::is_autocast_enabled(device),
                             static_cast<std::int8_t>(at::autocast::get_autocast_dtype(device))};
  at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::set_autocast_enabled(device, true);
  at::autocast::increment_nesting();
  return before;
}

void autocast_restore(AutocastState before) noexcept {
  const auto device = device_of(before.cuda);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device, before.enabled);
  at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(before.kind));
}

}  // namespace limbeck::shim
