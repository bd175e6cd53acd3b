#include "rl/mailbox.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include "check.hpp"
#include "rl/journal.hpp"

namespace {

struct Pair {
  std::uint64_t a = 0;
  std::uint64_t words[20] = {};
};

}  // namespace

TEST_CASE("a reader of the mailbox sees one value, whole") {
  rl::Seqlock<Pair> box;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    Pair p;
    for (std::uint64_t i = 1; i <= 20'000; ++i) {
      p.a = i;
      for (auto& w : p.words) w = i;
      box.store(p);
    }
    done = true;
  });
  Pair seen;
  std::uint64_t last = 0;
  bool torn = false;
  bool back = false;
  while (!done) {
    if (!box.try_load(seen)) continue;
    for (const auto w : seen.words) torn = torn || w != seen.a;
    back = back || seen.a < last;
    last = seen.a;
  }
  writer.join();
  box.load(seen);
  CHECK(!torn);
  CHECK(!back);
  CHECK(seen.a == 20'000);
}

TEST_CASE("the ring hands over every slot once, in order") {
  rl::SpscRing<std::uint64_t, 8> ring;
  constexpr std::uint64_t kMany = 20'000;
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kMany;) {
      if (auto* slot = ring.front_free()) {
        *slot = i++;
        ring.publish();
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::uint64_t next = 0;
  bool ordered = true;
  while (next < kMany) {
    if (const auto* slot = ring.oldest()) {
      ordered = ordered && *slot == next;
      ++next;
      ring.consume();
    } else {
      std::this_thread::yield();
    }
  }
  producer.join();
  CHECK(ordered);
  CHECK(ring.oldest() == nullptr);
}

TEST_CASE("records are whole or gone, never mixed") {
  std::vector<rl::RecordRing::Word> words(rl::RecordRing::words_for(64, 3));
  rl::RecordRing::Word count{0};
  rl::RecordRing ring(64, 3, words.data(), count);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    double v[3];
    for (std::int64_t i = 0; i < 20'000; ++i) {
      for (double& x : v) x = static_cast<double>(i);
      rl::CycleRecord r;
      r.cycle = r.deadline = r.done = i;
      ring.push(r, v, v, v);
    }
    done = true;
  });
  bool mixed = false;
  std::uint64_t read = 0;
  const auto look = [&](std::uint64_t i) {
    rl::CycleRecord r;
    double a[3], b[3], c[3];
    if (!ring.copy(i, r, a, b, c)) return;
    ++read;
    const auto want = static_cast<double>(i);
    mixed = mixed || r.cycle != static_cast<std::int64_t>(i) || r.done != r.cycle || a[0] != want ||
            c[2] != want || b[1] != want;
  };
  while (!done) {
    const std::uint64_t head = ring.head();
    for (std::uint64_t i = head > 64 ? head - 64 : 0; i < head; ++i) look(i);
  }
  writer.join();
  for (std::uint64_t i = ring.head() - 63; i < ring.head(); ++i) look(i);
  CHECK(!mixed);
  CHECK(read >= 63);
}

TEST_CASE("the histogram's quantiles are within two per cent") {
  rl::Histogram h;
  for (int i = 1; i <= 100'000; ++i) h.add(i * 100);
  CHECK(std::abs(h.quantile(0.5) / 5'000'000 - 1) < 0.02);
  CHECK(std::abs(h.quantile(0.99) / 9'900'000 - 1) < 0.02);
  CHECK(h.max() == 10'000'000);
  CHECK(h.count() == 100'000);
}

TEST_CASE("a value that a killed writer left half written is made whole by the next one") {
  rl::Seqlock<std::array<int, 4>> box;
  box.store({1, 1, 1, 1});
  auto& version = reinterpret_cast<std::atomic<std::uint32_t>&>(box);  // its first member
  version = version + 1;                                               // in the midst of a store
  std::array<int, 4> out{};
  CHECK(!box.try_load(out));
  box.store({2, 2, 2, 2});
  REQUIRE(box.try_load(out));
  CHECK(out[3] == 2);
}
