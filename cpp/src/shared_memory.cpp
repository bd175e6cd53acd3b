#include "rl/shared_memory.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace rl {
namespace {

Error memory_error(const char* what) {
  return {ErrorCode::io, std::string("shared memory: ") + what + ": " + ::strerrordesc_np(errno)};
}

}  // namespace

SharedMemory::~SharedMemory() {
  if (base_ != nullptr) ::munmap(base_, size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<SharedMemory> SharedMemory::map(int descriptor, std::size_t bytes) {
  SharedMemory out;
  out.descriptor_ = descriptor;
  void* const base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (base == MAP_FAILED) return memory_error("mmap");
  out.base_ = static_cast<std::byte*>(base);
  out.size_ = bytes;
  return out;
}

Result<SharedMemory> SharedMemory::make(std::size_t bytes) {
  const int descriptor = ::memfd_create("rl-loop", MFD_CLOEXEC);
  if (descriptor < 0) return memory_error("memfd_create");
  if (::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    const Error error = memory_error("ftruncate");
    ::close(descriptor);
    return error;
  }
  return map(descriptor, bytes);
}

Result<SharedMemory> SharedMemory::attach(int descriptor, std::size_t bytes) {
  struct stat info{};
  if (::fstat(descriptor, &info) != 0) return memory_error("descriptor");
  if (static_cast<std::size_t>(info.st_size) < bytes)
    return Error{ErrorCode::usage, "shared memory: too small for this program"};
  return map(descriptor, static_cast<std::size_t>(info.st_size));
}

}  // namespace rl
