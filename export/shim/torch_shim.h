// The few libtorch operations that tch does not bind. Tensors cross as addresses of
// at::Tensor, which is what tch's C_tensor pointers are.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <cstddef>
#include <memory>
#include <optional>

#include "rust/cxx.h"

namespace limbeck::shim {

struct AutocastState;

// One fused AdamW step (decoupled weight decay, bias correction, no AMSGrad) over lists of equal
// length. `grad_scale` is a scalar tensor that divides the gradients first; where the scalar tensor
// `stopped` is 1, nothing is changed. Throws on bad tensors.
void fused_adamw(rust::Slice<const std::size_t> parameters, rust::Slice<const std::size_t> gradients,
                 rust::Slice<const std::size_t> first_moments, rust::Slice<const std::size_t> second_moments,
                 std::size_t step, std::size_t grad_scale, std::size_t stopped, double learning_rate, double beta1,
                 double beta2, double weight_decay, double epsilon);

// Root of the sum of squares over all values of at least one tensor, into `result`: no value is
// read back from the device. Throws on bad tensors.
void global_norm(rust::Slice<const std::size_t> tensors, std::size_t result);

// Assigns bf16 copies of fp32 tensors to as many tensors, all made at once; their gradients come back as fp32, also all at
// once. Throws on lists of unequal lengths.
void bf16_copies(rust::Slice<const std::size_t> tensors, rust::Slice<const std::size_t> copies);

// Assigns a copy of a tensor of the CPU in pinned memory. Throws where there is no CUDA.
void pinned(std::size_t tensor, std::size_t result);

// LayerNorm over the last dimension in the kind that its tensors are of, whatever autocast would make of them. Throws on bad
// tensors.
void norm_as_it_is(std::size_t input, std::size_t weight, std::size_t bias, double epsilon, std::size_t result);

// A copy of a tensor on its way to the CPU: of a GPU's, which goes when its turn comes.
class Underway {
 public:
  explicit Underway(const at::Tensor &source);

  // Waits for this copy alone, and assigns it.
  void arrived(std::size_t result) const;

 private:
  at::Tensor copy_;
  std::optional<c10::Event> done_;
};

// Starts one. Throws on bad tensors.
std::unique_ptr<Underway> underway(std::size_t tensor);

// Assigns what is left of a tensor of the CPU after dropout: values are 0 with probability `rate`, else divided by 1 - `rate`.
// It draws on libtorch's default generator once, takes all of libtorch's threads, and keeps nothing for the way back. Throws
// on other devices and kinds than fp32 and bf16.
void dropout(std::size_t input, double rate, std::size_t result);

// Keeps scaled_dot_product_attention from cuDNN's kernels, which are compiled anew for each shape; for the whole process.
void no_cudnn_attention() noexcept;

// Switches the calling thread's autocast on, to bf16, for CUDA or the CPU. Gives what was set.
AutocastState autocast_bf16(bool cuda);

// Undoes the latest autocast_bf16 of the calling thread; the casts that the outermost one kept go.
void autocast_restore(AutocastState before) noexcept;

}  // namespace limbeck::shim
