// The few libtorch operations that tch does not bind. Tensors cross as addresses of
// at::Tensor, which is what tch's C_tensor pointers are.
#pragma once

#include <cstddef>

#include "rust/cxx.h"

namespace limbeck::shim {

// One fused AdamW step (decoupled weight decay, bias correction, no AMSGrad) over lists of equal
// length. `grad_scale` is a scalar tensor that divides the gradients first. Throws on bad tensors.
void fused_adamw(rust::Slice<const std::size_t> parameters, rust::Slice<const std::size_t> gradients,
                 rust::Slice<const std::size_t> first_moments, rust::Slice<const std::size_t> second_moments,
                 std::size_t step, std::size_t grad_scale, double learning_rate, double beta1, double beta2,
                 double weight_decay, double epsilon);

}  // namespace limbeck::shim
