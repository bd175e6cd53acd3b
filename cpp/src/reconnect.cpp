#include "rl/reconnect.hpp"

#include <pthread.h>

#include <chrono>
#include <exception>
#include <utility>

namespace rl {
namespace {

constexpr std::chrono::milliseconds kSearchEvery{100};

}  // namespace

Reconnector::Reconnector(std::vector<ServoChain*> chains, SharedLoop& shared, DeviceRoots roots)
    : shared_(shared), roots_(std::move(roots)) {
  for (std::size_t i = 0; i < chains.size(); ++i) {
    auto seat = std::make_unique<Seat>();
    seat->chain = chains[i];
    seat->leads = i < shared.plan.chains.size() && shared.plan.chains[i].leader;
    seat->config = chains[i]->config();
    seat->serial = usb_port(seat->config.port, roots_).serial;
    seats_.push_back(std::move(seat));
  }
  helper_ = std::thread([this] { run(); });
}

Reconnector::~Reconnector() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  ending_.notify_one();
  helper_.join();
}

void Reconnector::attend() noexcept {
  for (const auto& seat : seats_) {
    const Phase phase = seat->phase.load(std::memory_order_acquire);
    if (phase == Phase::back && seat->fresh.has_value()) {
      seat->chain->take_over(*seat->fresh);
      seat->phase.store(Phase::there, std::memory_order_release);
    } else if (phase == Phase::there && seat->chain->lost()) {
      seat->chain->close();
      seat->phase.store(Phase::gone, std::memory_order_release);
    }
  }
}

void Reconnector::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "rl-reconnect");
  try {
    std::unique_lock lock(mutex_);
    while (!ending_.wait_for(lock, kSearchEvery, [this] { return over_; })) {
      for (std::size_t i = 0; i < seats_.size(); ++i) {
        if (seats_[i]->phase.load(std::memory_order_acquire) == Phase::gone) search(*seats_[i], i);
      }
    }
  } catch (const std::exception& error) {  // no memory: the arm stays where it is
    shared_.house.add_note(error.what());
  }
}

/// One try. An arm that answers but is another one is left alone: our goals are not for it.
void Reconnector::search(Seat& seat, std::size_t number) {
  ChainConfig config = seat.config;
  if (!seat.serial.empty()) {
    auto found = find_port_by_serial(seat.serial, roots_);
    if (!found.ok()) return;
    config.port = std::move(found.value());
  }
  auto made = ServoChain::make(config);
  if (!made.ok() || !made.value().open().ok()) return;
  ServoChain& chain = made.value();
  if (const Trouble trouble = chain.recognise(); !trouble.none()) return;
  if (seat.leads && chain.relax() != 0) return;  // a leader is moved by hand: never under torque
  shared_.plan.chains[number].port = std::string_view(config.port);
  seat.fresh.emplace(std::move(chain));
  shared_.house.add_note(config.port + " is back" + (seat.leads ? "" : "; reset and arm to go on"));
  seat.phase.store(Phase::back, std::memory_order_release);
}

}  // namespace rl
