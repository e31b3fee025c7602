#include "limbeck-export/shim/nccl.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "limbeck-export/src/train/parallel/nccl.rs.h"

namespace limbeck::shim {
namespace {

// How long a process is waited for: process 0 works alone for hours when it fills a cache of outputs or scores dev. One that
// fails is noticed by torchrun. The store's sockets take milliseconds as an int, which holds 24 days.
constexpr std::chrono::hours patience(7 * 24);

const at::Tensor &tensor_at(std::size_t address) {
  return *reinterpret_cast<const at::Tensor *>(address);
}

}  // namespace

NcclGroup::NcclGroup(std::shared_ptr<c10d::ProcessGroupNCCL> group, int device)
    : group_(std::move(group)), device_(device) {}

void NcclGroup::all_reduce_mean(rust::Slice<const std::size_t> tensors) const {
  at::NoGradGuard no_grad;
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::AVG;
  for (std::size_t address : tensors) {
    std::vector<at::Tensor> one{tensor_at(address).detach()};
    group_->allreduce(one, options)->wait();
  }
}

void NcclGroup::broadcast(rust::Slice<const std::size_t> tensors, int from) const {
  at::NoGradGuard no_grad;
  c10d::BroadcastOptions options;
  options.rootRank = from;
  for (std::size_t address : tensors) {
    std::vector<at::Tensor> one{tensor_at(address).detach()};
    group_->broadcast(one, options)->wait();
  }
}

void NcclGroup::barrier() const {
  c10d::BarrierOptions options;
  options.device_ids = {device_};
  group_->barrier(options)->wait();
}

std::unique_ptr<NcclGroup> nccl_group(rust::Str host, std::uint16_t port, bool served, rust::Str prefix, int rank,
                                      int size, int device) {
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
  c10d::TCPStoreOptions options;
  options.port = port;
  options.isServer = rank == 0 && !served;
  options.waitWorkers = !served;
  if (!served) options.numWorkers = static_cast<std::size_t>(size);
  auto store = c10::make_intrusive<c10d::PrefixStore>(
      std::string(prefix), c10::make_intrusive<c10d::TCPStore>(std::string(host), options));
  // Only from here on: processes that do not come are missed sooner. NCCL's first call waits at the store, for process 0.
  store->setTimeout(patience);
  auto group_options = c10d::ProcessGroupNCCL::Options::create();
  group_options->timeout = patience;
  auto group =
      c10::make_intrusive<c10d::ProcessGroupNCCL>(std::move(store), rank, size, std::move(group_options));
  // Shared by hand: the header that Rust sees does not need c10d's.
  auto *raw = group.release();
  std::shared_ptr<c10d::ProcessGroupNCCL> shared(raw, [](c10d::ProcessGroupNCCL *last) {
    c10::intrusive_ptr<c10d::ProcessGroupNCCL>::reclaim(last);
  });
  return std::make_unique<NcclGroup>(std::move(shared), device);
}

}  // namespace limbeck::shim
