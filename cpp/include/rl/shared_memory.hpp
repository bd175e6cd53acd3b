/// Anonymous memory that a child process can map through an inherited descriptor.
#pragma once

#include <cstddef>
#include <utility>

#include "rl/error.hpp"

namespace rl {

class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(SharedMemory&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)),
        base_(std::exchange(other.base_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(base_, other.base_);
    std::swap(size_, other.size_);
    return *this;
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  /// Zeros; the kernel gives each page when it is first touched.
  static Result<SharedMemory> make(std::size_t bytes);
  /// The memory behind a descriptor, of at least `bytes`.
  static Result<SharedMemory> attach(int descriptor, std::size_t bytes);

  [[nodiscard]] std::byte* base() const noexcept { return base_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

 private:
  static Result<SharedMemory> map(int descriptor, std::size_t bytes);

  int descriptor_ = -1;
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rl
