#include "rl/shared_loop.hpp"

#include <cstring>
#include <new>

namespace rl {
namespace {

/// First in the memory: another build of the guardian would read other fields.
struct Header {
  std::array<char, 8> magic{'r', 'l', '-', 'l', 'o', 'o', 'p', '\0'};
  std::uint64_t layout = sizeof(SharedLoop);
  std::uint64_t records = 0;  ///< words of the ring
};

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLoopAt = kPage;
constexpr std::size_t kRecordsAt = kLoopAt + (sizeof(SharedLoop) + kPage - 1) / kPage * kPage;

std::size_t words_for(const SessionPlan& plan) noexcept {
  const PlannerConfig& planner = plan.house.planner;
  return RecordRing::words_for(records_kept(planner.period), planner.axes.size());
}

std::size_t bytes_for(std::size_t words) noexcept { return kRecordsAt + words * sizeof(RecordRing::Word); }

}  // namespace

Result<LoopMemory> LoopMemory::make(const SessionPlan& plan) {
  const std::size_t words = words_for(plan);
  auto made = SharedMemory::make(bytes_for(words));
  if (!made.ok()) return made.error();
  LoopMemory out;
  out.memory_ = std::move(made.value());
  Header header;
  header.records = words;
  std::memcpy(out.memory_.base(), &header, sizeof header);
  out.shared_ = new (out.memory_.base() + kLoopAt) SharedLoop();
  out.shared_->plan = plan;
  out.records_ = reinterpret_cast<RecordRing::Word*>(out.memory_.base() + kRecordsAt);
  return out;
}

Result<LoopMemory> LoopMemory::attach(int descriptor) {
  auto found = SharedMemory::attach(descriptor, kRecordsAt);
  if (!found.ok()) return found.error();
  LoopMemory out;
  out.memory_ = std::move(found.value());
  Header header;
  std::memcpy(&header, out.memory_.base(), sizeof header);
  const Header ours;
  out.shared_ = reinterpret_cast<SharedLoop*>(out.memory_.base() + kLoopAt);
  if (header.magic != ours.magic || header.layout != ours.layout ||
      header.records != words_for(out.shared_->plan) || out.memory_.size() < bytes_for(header.records)) {
    return Error{ErrorCode::usage, "guardian: this memory was made by another build"};
  }
  out.records_ = reinterpret_cast<RecordRing::Word*>(out.memory_.base() + kRecordsAt);
  return out;
}

}  // namespace rl
