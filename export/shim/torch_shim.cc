#include "limbeck-export/shim/torch_shim.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>

#include <optional>
#include <vector>

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

}  // namespace

void fused_adamw(rust::Slice<const std::size_t> parameters, rust::Slice<const std::size_t> gradients,
                 rust::Slice<const std::size_t> first_moments, rust::Slice<const std::size_t> second_moments,
                 std::size_t step, std::size_t grad_scale, double learning_rate, double beta1, double beta2,
                 double weight_decay, double epsilon) {
  at::NoGradGuard no_grad;
  const auto weights = tensors_at(parameters);
  const std::vector<at::Tensor> steps(weights.size(), tensor_at(step));
  at::_fused_adamw_(weights, tensors_at(gradients), tensors_at(first_moments), tensors_at(second_moments), {}, steps,
                    learning_rate, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false,
                    std::optional<at::Tensor>(tensor_at(grad_scale)), std::nullopt);
}

}  // namespace limbeck::shim
