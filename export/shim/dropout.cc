#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>

#if defined(__linux__)
#include <dlfcn.h>
#endif

#include "limbeck-export/shim/torch_shim.h"

// Compiled once for each kind of x86 processor; the one that fits is chosen when the program starts.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define LIMBECK_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LIMBECK_EACH_PROCESSOR
#endif

// Into each of those.
#if defined(__GNUC__)
#define LIMBECK_INLINE inline __attribute__((always_inline))
#else
#define LIMBECK_INLINE inline
#endif

namespace limbeck::shim {
namespace {

// Values that have keys of their own, by which they can be drawn apart from all others.
constexpr std::int64_t kBlock = 1 << 14;

struct Drawing {
  std::uint64_t seed;
  // Of 2^31: a number below it drops.
  std::int32_t limit;
  float scale;
};

// SplitMix64 as a counter.
std::uint64_t block_key(std::uint64_t seed, std::int64_t block) {
  std::uint64_t x = seed + (static_cast<std::uint64_t>(block) + 1) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Each value's number is a mix of its place (Wellons' lowbias32) with both halves of the key; a value is scaled, or multiplied by
// 0, so that what is no number stays none.
template <typename T>
LIMBECK_INLINE void drop_values(T *out, const T *in, std::int32_t size, std::uint64_t key, std::int32_t limit, float scale) {
  const auto first = static_cast<std::uint32_t>(key), second = static_cast<std::uint32_t>(key >> 32);
  for (std::int32_t i = 0; i < size; ++i) {
    std::uint32_t x = static_cast<std::uint32_t>(i) ^ first;
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x += second;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    x ^= x >> 15;
    out[i] = static_cast<T>(static_cast<float>(in[i]) * (static_cast<std::int32_t>(x >> 1) < limit ? 0.0f : scale));
  }
}

LIMBECK_EACH_PROCESSOR void drop_floats(float *out, const float *in, std::int32_t size, std::uint64_t key, std::int32_t limit,
                                        float scale) {
  drop_values(out, in, size, key, limit, scale);
}

LIMBECK_EACH_PROCESSOR void drop_halves(at::BFloat16 *out, const at::BFloat16 *in, std::int32_t size, std::uint64_t key,
                                        std::int32_t limit, float scale) {
  drop_values(out, in, size, key, limit, scale);
}

// One call: threads take block by block.
struct Work {
  void *out;
  const void *in;
  std::int64_t size;
  bool half;
  Drawing drawing;
  std::atomic<std::int64_t> next{0};

  std::int64_t blocks() const { return (size + kBlock - 1) / kBlock; }

  void run() {
    for (std::int64_t block = next++; block < blocks(); block = next++) {
      const std::int64_t at = block * kBlock;
      const auto count = static_cast<std::int32_t>(std::min(kBlock, size - at));
      const std::uint64_t key = block_key(drawing.seed, block);
      if (half) {
        drop_halves(static_cast<at::BFloat16 *>(out) + at, static_cast<const at::BFloat16 *>(in) + at, count, key,
                    drawing.limit, drawing.scale);
      } else {
        drop_floats(static_cast<float *>(out) + at, static_cast<const float *>(in) + at, count, key, drawing.limit,
                    drawing.scale);
      }
    }
  }
};

// The threads that libtorch's own operators run on, by the entry point that compilers call for `#pragma omp parallel`. A
// library of OpenMP of our own would have other threads, which would be in the way of these: they wait at work.
using Parallel = void (*)(void (*)(void *), void *, unsigned, unsigned);

Parallel find_parallel() {
#if defined(__linux__)
  return reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
#else
  return nullptr;
#endif
}

void run(Work &work) {
  static const Parallel parallel = find_parallel();
  if (parallel == nullptr || work.blocks() < 2 || at::get_num_threads() < 2 || at::in_parallel_region()) {
    work.run();
  } else {
    parallel([](void *work) { static_cast<Work *>(work)->run(); }, &work, 0, 0);
  }
}

at::Tensor dropped(const at::Tensor &input, const Drawing &drawing) {
  const auto in = input.contiguous();
  auto out = at::empty_like(in);
  Work work{out.mutable_data_ptr(), in.const_data_ptr(), in.numel(), in.scalar_type() == at::kBFloat16, drawing};
  run(work);
  return out;
}

std::uint64_t next_seed() {
  auto *generator = at::get_generator_or_default<at::CPUGeneratorImpl>(std::nullopt, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(generator->mutex_);
  return generator->random64();
}

struct Dropout : torch::autograd::Function<Dropout> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &input, double rate) {
    // What was dropped is drawn again on the way back: nothing is kept but the seed.
    const std::uint64_t seed = next_seed();
    context->saved_data["seed"] = static_cast<std::int64_t>(seed);
    context->saved_data["rate"] = rate;
    return dropped(input, drawing(seed, rate));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list gradients) {
    const auto seed = static_cast<std::uint64_t>(context->saved_data["seed"].toInt());
    return {dropped(gradients[0], drawing(seed, context->saved_data["rate"].toDouble())), at::Tensor()};
  }

  static Drawing drawing(std::uint64_t seed, double rate) {
    return {seed, static_cast<std::int32_t>(std::lround(rate * 2147483648.0)), static_cast<float>(1.0 / (1.0 - rate))};
  }
};

}  // namespace

void dropout(std::size_t input, double rate, std::size_t result) {
  const auto &tensor = *reinterpret_cast<const at::Tensor *>(input);
  const bool known = tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
  if (!tensor.device().is_cpu() || !known || !(rate >= 0.0 && rate < 1.0)) {
    throw std::invalid_argument("dropout is for fp32 and bf16 on a CPU, with rates from 0 to below 1");
  }
  *reinterpret_cast<at::Tensor *>(result) = Dropout::apply(tensor, rate);
}

}  // namespace limbeck::shim
