/// Brings back a chain whose port has gone: the cable was pulled, the adapter may return under another
/// number.
///
/// Works beside the loop at normal priority, where it may open, wait and allocate. It moves nothing: the loop
/// is in FAULT by then, or in HOLD without its leader, and leaves neither by itself.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rl/shared_loop.hpp"
#include "rl/usb_ports.hpp"

namespace rl {

class Reconnector {
 public:
  /// The chains in the order of the plan, open. They outlive it.
  Reconnector(std::vector<ServoChain*> chains, SharedLoop& shared, DeviceRoots roots = {});
  ~Reconnector();
  Reconnector(const Reconnector&) = delete;
  Reconnector& operator=(const Reconnector&) = delete;

  /// The loop, once a cycle: closes a port that has gone (the system keeps its number until then), takes one
  /// that was found again. Neither waits nor allocates.
  void attend() noexcept;

 private:
  enum class Phase : std::uint8_t { there, gone, back };
  struct Seat {
    ServoChain* chain = nullptr;
    bool leads = false;
    ChainConfig config;
    std::string serial;  ///< of the adapter; "": it has none, and only its path is known
    std::atomic<Phase> phase{Phase::there};
    std::optional<ServoChain> fresh;  ///< the helper's while `gone`, the loop's while `back`
  };

  void run() noexcept;
  void search(Seat& seat, std::size_t number);

  std::vector<std::unique_ptr<Seat>> seats_;
  SharedLoop& shared_;
  DeviceRoots roots_;
  std::mutex mutex_;
  std::condition_variable ending_;
  bool over_ = false;
  std::thread helper_;
};

}  // namespace rl
