#include <cmath>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "rl/action_queue.hpp"
#include "rl/promise.hpp"

namespace {

constexpr std::int64_t kPeriod = 20'000'000;

rl::ActionQueue make(rl::Merge merge, std::size_t crossfade = 0,
                     rl::Interpolation interpolation = rl::Interpolation::linear) {
  rl::QueueConfig config;
  config.merge = merge;
  config.crossfade = crossfade;
  config.interpolation = interpolation;
  return rl::ActionQueue(config);
}

rl::Refusal push(rl::ActionQueue& queue, std::int64_t observed, std::vector<float> rows, std::int64_t now) {
  return queue.push({observed, kPeriod, rows.size(), rows}, now);
}

double at(rl::ActionQueue& queue, std::int64_t now) {
  double out = std::numeric_limits<double>::quiet_NaN();
  const bool found = queue.at(now, {&out, 1});
  return found ? out : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

TEST_CASE("bad chunks are refused whole and change nothing") {
  auto queue = make(rl::Merge::replace);
  const std::int64_t t = 1'000'000'000;
  REQUIRE(push(queue, t, {1, 2, 3}, t) == rl::Refusal::none);
  CHECK(push(queue, t, {9}, t) == rl::Refusal::duplicate);
  CHECK(push(queue, t - kPeriod, {9}, t) == rl::Refusal::stale);
  CHECK(push(queue, t + 1, {}, t) == rl::Refusal::empty);
  CHECK(push(queue, t + 1, {9, std::numeric_limits<float>::infinity()}, t) == rl::Refusal::not_finite);
  CHECK(push(queue, t + 1, {9}, t + 2 + rl::kStaleAfter) == rl::Refusal::stale);
  CHECK(push(queue, t + 1, std::vector<float>(rl::kMostRows + 1), t) == rl::Refusal::full);
  const float two[2] = {1, 2};
  CHECK(queue.push({t + 1, kPeriod, 1, two}, t) == rl::Refusal::width);
  CHECK(at(queue, t + kPeriod) == 2);
}

TEST_CASE("what was cleared or passed over makes nothing older legal again") {
  auto queue = make(rl::Merge::replace);
  const std::int64_t t = 1'000'000'000;
  const float one[1] = {5};
  REQUIRE(push(queue, t, {1, 2}, t) == rl::Refusal::none);
  queue.clear();
  CHECK(std::isnan(at(queue, t)));
  CHECK(push(queue, t - 1, {9}, t) == rl::Refusal::stale);
  CHECK(queue.pass_over({t + 10, kPeriod, 1, one}, t + 10) == rl::Refusal::none);
  CHECK(std::isnan(at(queue, t + 10)));
  CHECK(queue.pass_over({t + 9, kPeriod, 1, one}, t + 10) == rl::Refusal::stale);
  CHECK(push(queue, t + 9, {9}, t + 10) == rl::Refusal::stale);
  CHECK(push(queue, t + 10, {9}, t + 10) == rl::Refusal::duplicate);
  CHECK(push(queue, t + 11, {9}, t + 11) == rl::Refusal::none);
}

TEST_CASE("late rows are skipped by time and the end starves") {
  auto queue = make(rl::Merge::replace);
  const std::int64_t t = 1'000'000'000;
  REQUIRE(push(queue, t, {0, 1, 2, 3}, t + 2 * kPeriod) == rl::Refusal::none);
  CHECK(at(queue, t + 2 * kPeriod) == 2);
  CHECK(std::abs(at(queue, t + 2 * kPeriod + kPeriod / 2) - 2.5) < 1e-12);
  CHECK(queue.remaining(t + 2 * kPeriod) == 1);
  CHECK(at(queue, t + 4 * kPeriod) == 3);  // the last one stays due for its period
  CHECK(std::isnan(at(queue, t + 4 * kPeriod + 1)));
}

TEST_CASE("weightings mix what overlaps and keep the uncovered future") {
  auto queue = make(rl::Merge::weighted_average);
  const std::int64_t t = 1'000'000'000;
  REQUIRE(push(queue, t, {10, 10, 10, 10, 10, 10}, t) == rl::Refusal::none);
  REQUIRE(push(queue, t + kPeriod, {20, 20, 20}, t + kPeriod) == rl::Refusal::none);
  CHECK(std::abs(at(queue, t + kPeriod) - 17) < 1e-5);
  CHECK(std::abs(at(queue, t + 3 * kPeriod) - 17) < 1e-5);
  CHECK(at(queue, t + 5 * kPeriod) == 10);
}

TEST_CASE("a cross-fade has no jump") {
  auto queue = make(rl::Merge::crossfade, 4);
  const std::int64_t t = 1'000'000'000;
  REQUIRE(push(queue, t, std::vector<float>(20, 0), t) == rl::Refusal::none);
  const std::int64_t now = t + 5 * kPeriod;
  CHECK(at(queue, now) == 0);
  REQUIRE(push(queue, now - kPeriod, std::vector<float>(20, 10), now) == rl::Refusal::none);
  double before = at(queue, now);
  CHECK(before == 0);
  for (int k = 1; k <= 8; ++k) {
    const double next = at(queue, now + k * kPeriod);
    CHECK(next - before <= 2.0 + 1e-5);
    before = next;
  }
  CHECK(before == 10);
}

TEST_CASE("append carries the running plan out to its end") {
  auto queue = make(rl::Merge::append);
  const std::int64_t t = 1'000'000'000;
  REQUIRE(push(queue, t, {0, 1, 2, 3}, t) == rl::Refusal::none);
  REQUIRE(push(queue, t + 2 * kPeriod, {20, 30, 40, 50}, t + 2 * kPeriod) == rl::Refusal::none);
  for (const int k : {2, 3}) CHECK(at(queue, t + k * kPeriod) == k);
  for (const int k : {4, 5}) CHECK(at(queue, t + k * kPeriod) == 10 * k);
}

TEST_CASE("real-time chunking keeps what was promised, and fades in what came later than promised") {
  const std::int64_t t = 1'000'000'000;
  const std::int64_t second = t + 4 * kPeriod;  // of the second observation
  const std::vector<float> fresh = {14, 15, 16, 17, 18, 19};
  {
    auto queue = make(rl::Merge::real_time_chunking);
    REQUIRE(push(queue, t, {0, 1, 2, 3, 4, 5, 6, 7}, t) == rl::Refusal::none);
    REQUIRE(queue.push({second, kPeriod, fresh.size(), fresh, 2}, second + kPeriod) == rl::Refusal::none);
    CHECK(at(queue, t + 5 * kPeriod) == 5);   // promised
    CHECK(at(queue, t + 6 * kPeriod) == 16);  // the new plan from its third row on
  }
  auto late = make(rl::Merge::real_time_chunking);
  REQUIRE(push(late, t, {0, 1, 2, 3, 4, 5, 6, 7}, t) == rl::Refusal::none);
  REQUIRE(late.push({second, kPeriod, fresh.size(), fresh, 1}, second + 2 * kPeriod) == rl::Refusal::none);
  CHECK(at(late, second + 2 * kPeriod) == 6);   // where the arm is
  CHECK(at(late, second + 3 * kPeriod) == 12);  // one row was not promised: half old, half new
  CHECK(at(late, second + 4 * kPeriod) == 18);
  auto first = make(rl::Merge::real_time_chunking);
  REQUIRE(first.push({t, kPeriod, fresh.size(), fresh, 3}, t) == rl::Refusal::none);
  CHECK(at(first, t) == 14);  // nothing runs that could be kept
}

TEST_CASE("a prefix is what the loop will execute, its delay is counted in rows") {
  rl::Promise promise(1, 4);
  const std::int64_t t = 1'000'000'000;
  std::vector<float> rows(4);
  CHECK(promise.delay() == 1);
  CHECK(promise.begin(t, kPeriod, rows).rows == 0);
  std::vector<float> chunk = {0, 1, 2, 3, 4, 5, 6, 7};
  CHECK(promise.arrived({t, kPeriod, chunk.size(), chunk}, t + kPeriod / 2) == 1);
  const auto prefix = promise.begin(t + 3 * kPeriod, kPeriod, rows);
  CHECK(prefix.rows == 4);
  CHECK(prefix.promised == 1);
  CHECK(rows == std::vector<float>{3, 4, 5, 6});
  CHECK(promise.begin(t + 7 * kPeriod, kPeriod, rows).rows == 2);  // the last row stays due for its period
  CHECK(promise.begin(t + 20 * kPeriod, kPeriod, rows).rows == 0);
}

TEST_CASE("one slow inference does not lengthen every later prefix") {
  rl::Promise promise(1, 10);
  std::vector<float> chunk(20);
  std::int64_t t = 1'000'000'000;
  for (int turn = 0; turn < 100; ++turn) {
    const std::int64_t took = turn == 50 ? 8 * kPeriod : 2 * kPeriod + 1;
    const std::size_t consumed = promise.arrived({t, kPeriod, chunk.size(), chunk}, t + took);
    CHECK(consumed == (turn == 50 ? 9U : 3U));
    t += 10 * kPeriod;
  }
  CHECK(promise.delay() == 3);
  for (int turn = 0; turn < 3; ++turn, t += 10 * kPeriod)
    static_cast<void>(promise.arrived({t, kPeriod, chunk.size(), chunk}, t + 30 * kPeriod));
  CHECK(promise.delay() == 9);  // never as long as the whole prefix
}

TEST_CASE("prefix weights fall from what is promised to the end") {
  const auto of = [](rl::PrefixWeights schedule) {
    std::vector<double> out(6);
    rl::prefix_weights(schedule, 2, 5, out);
    return out;
  };
  CHECK(of(rl::PrefixWeights::zeros) == std::vector<double>{1, 1, 0, 0, 0, 0});
  CHECK(of(rl::PrefixWeights::ones) == std::vector<double>{1, 1, 1, 1, 1, 0});
  CHECK(of(rl::PrefixWeights::linear) == std::vector<double>{1, 1, 0.75, 0.5, 0.25, 0});
  const auto curved = of(rl::PrefixWeights::exponential);
  CHECK(std::abs(curved[3] - 0.5 * (std::exp(0.5) - 1) / (std::exp(1.0) - 1)) < 1e-12);
  std::vector<double> none(3);
  rl::prefix_weights(rl::PrefixWeights::linear, 5, 2, none);
  CHECK(none == std::vector<double>{1, 1, 0});
}

TEST_CASE("ensembling a chunk each step equals the ensembler") {
  constexpr std::size_t kChunk = 8;
  auto queue = make(rl::Merge::ensemble);
  rl::TemporalEnsembler ensembler(kChunk, 0.01);
  std::mt19937 random(5);  // NOLINT(cert-msc51-cpp)
  std::normal_distribution<float> normal;
  const std::int64_t t = 1'000'000'000;
  for (int step = 0; step < 60; ++step) {
    std::vector<float> chunk(kChunk);
    for (float& v : chunk) v = normal(random);
    float want = 0;
    REQUIRE(ensembler.update(chunk, 1, {&want, 1}));
    const std::int64_t now = t + step * kPeriod;
    REQUIRE(push(queue, now, chunk, now) == rl::Refusal::none);
    CHECK(std::abs(at(queue, now) - static_cast<double>(want)) <= 1e-6);
  }
}

TEST_CASE("cubic interpolation passes through the knots and does not overshoot") {
  auto queue = make(rl::Merge::replace, 0, rl::Interpolation::cubic);
  const std::int64_t t = 1'000'000'000;
  REQUIRE(push(queue, t, {0, 0, 1, 1, 3, 2}, t) == rl::Refusal::none);
  double highest = 0;
  double lowest = 0;
  for (std::int64_t now = t; now <= t + 5 * kPeriod; now += kPeriod / 20) {
    const double v = at(queue, now);
    highest = std::max(highest, v);
    lowest = std::min(lowest, v);
    if (now == t + 2 * kPeriod) CHECK(std::abs(v - 1) < 1e-12);
  }
  CHECK(highest <= 3 + 1e-12);
  CHECK(lowest >= -1e-12);
}

TEST_CASE("random traffic never breaks the queue") {
  std::mt19937 random(11);  // NOLINT(cert-msc51-cpp)
  for (const auto merge :
       {rl::Merge::replace, rl::Merge::ensemble, rl::Merge::crossfade, rl::Merge::average,
        rl::Merge::latest_only, rl::Merge::conservative, rl::Merge::append, rl::Merge::real_time_chunking}) {
    auto queue = make(merge, 5, rl::Interpolation::cubic);
    std::int64_t now = 1'000'000'000;
    int answered = 0;
    for (int turn = 0; turn < 3000; ++turn) {
      now += static_cast<std::int64_t>(random() % 30'000'000);
      if (random() % 3 == 0) {
        std::vector<float> rows(random() % 60);
        for (float& v : rows) v = static_cast<float>(random() % 100);
        const auto observed = now - static_cast<std::int64_t>(random() % 200'000'000) + 50'000'000;
        static_cast<void>(push(queue, observed, rows, now));
      }
      const double v = at(queue, now);
      if (!std::isnan(v)) {
        ++answered;
        CHECK(v >= -1e-3);
        CHECK(v <= 99.001);
      }
      CHECK(queue.remaining(now) <= 2 * rl::kMostRows);
    }
    CHECK(answered > 1000);
  }
}

TEST_CASE("a chunk from the far future is refused and its sums stay defined") {
  const std::vector<float> values = {1, 2};
  constexpr std::int64_t kHour = 3'600'000'000'000;
  constexpr std::int64_t kNow = 1'000'000'000;
  const auto judge = [&](std::int64_t observed) {
    return rl::judge_chunk({observed, 20'000'000, 2, values}, 1, kNow);
  };
  CHECK(judge(INT64_MAX) == rl::Refusal::future);
  CHECK(judge(kNow + kHour + 1) == rl::Refusal::future);
  CHECK(judge(kNow + kHour) == rl::Refusal::none);
  CHECK(std::string_view(rl::to_string(rl::Refusal::future)) == "future");
}
