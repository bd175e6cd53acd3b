/// What a loop's journal shows to those who look on.
#include <memory>

#include "check.hpp"
#include "rl/loop_worker.hpp"

TEST_CASE("a joint is named as silent before its position is stale") {
  for (const std::int64_t period : {rl::kSecond / 10, rl::kSecond / 50, rl::kSecond / 200}) {
    auto plan = std::make_unique<rl::SessionPlan>();
    plan->house.planner.period = period;
    for (int k = 0; k < 2; ++k) plan->house.planner.axes.push_back({});
    auto memory = rl::LoopMemory::make(*plan);
    CHECK(memory.ok());
    rl::SharedLoop& shared = memory.value().shared();
    rl::LoopJournal journal(memory.value());
    const bool fast = period <= rl::kSecond / 50;
    for (std::int64_t age = 0; age < 150 * rl::kMillisecond; age += rl::kMillisecond) {
      rl::CycleRecord record;
      record.deadline = 10 * rl::kSecond;
      record.done = record.deadline + rl::kMillisecond;
      rl::Reading reading;
      reading.captured[0] = record.done;
      reading.captured[1] = record.done - age;
      rl::Plan written;
      journal.publish(record, reading, {}, written, 0);
      rl::Look seen;
      CHECK(shared.look.try_load(seen));
      const std::int64_t next_end = fast ? age + 2 * period - rl::kMillisecond : age;
      CHECK(seen.silent == (next_end > 100 * rl::kMillisecond ? 2U : 0U));
    }
  }
}

TEST_CASE("a minute of cycles stays readable at every rate, and never less than a black box") {
  CHECK(rl::records_kept(rl::kSecond / 10) == 4096);
  CHECK(rl::records_kept(rl::kSecond / 50) == 4096);
  CHECK(rl::records_kept(rl::kSecond / 200) == 16384);
  CHECK(rl::records_kept(rl::kSecond / 1000) == 65536);
}
