// NCCL through torch's own c10d, for data-parallel training. Tensors cross as addresses of at::Tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "rust/cxx.h"

namespace c10d {
class ProcessGroupNCCL;
}

namespace limbeck::shim {

// The processes that train together, each with a GPU of its own. All make the same calls in the same order.
class NcclGroup {
 public:
  explicit NcclGroup(std::shared_ptr<c10d::ProcessGroupNCCL> group, int device);

  // Overwrites floating-point tensors with their means over all processes.
  void all_reduce_mean(rust::Slice<const std::size_t> tensors) const;

  // Overwrites tensors with those of one process.
  void broadcast(rust::Slice<const std::size_t> tensors, int from) const;

  // Waits until all processes are here.
  void barrier() const;

 private:
  std::shared_ptr<c10d::ProcessGroupNCCL> group_;
  int device_;
};

// Meets the other processes at a TCP store, which process 0 serves unless `served` says that another program does,
// and makes `device` this process's GPU. `prefix` keeps the keys of one start apart from those of another. Throws
// when the store cannot be reached or not all come.
std::unique_ptr<NcclGroup> nccl_group(rust::Str host, std::uint16_t port, bool served, rust::Str prefix, int rank,
                                      int size, int device);

}  // namespace limbeck::shim
