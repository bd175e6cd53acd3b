/// Which core a loop takes.
#include "rl/affinity.hpp"

#include <thread>
#include <vector>

#include "check.hpp"

using Cores = std::vector<int>;

TEST_CASE("the kernel's lists of cores are read") {
  CHECK(rl::cores_in("2-4,7") == Cores({2, 3, 4, 7}));
  CHECK(rl::cores_in("5") == Cores({5}));
  CHECK(rl::cores_in("").empty());
  CHECK(rl::cores_in("x,3,-,4-").size() == 2);
  CHECK(rl::cores_in("6-2").empty());
}

TEST_CASE("an isolated core comes first, then the last allowed one, never the first, none of two") {
  CHECK(rl::cores_for_loop({0, 1, 2, 3}, {}) == Cores({3, 2, 1}));
  CHECK(rl::cores_for_loop({0, 1, 2, 3}, {6, 7}) == Cores({7, 6, 3, 2, 1}));
  CHECK(rl::cores_for_loop({0, 1, 2, 3}, {2}) == Cores({2, 3, 1}));
  CHECK(rl::cores_for_loop({0, 1}, {}).empty());
  CHECK(rl::cores_for_loop({0, 1}, {1}).empty());
}

TEST_CASE("two loops are not pinned to one core, and each says where it is") {
  std::thread loop([] {  // its affinity ends with it
    rl::CorePin first;
    rl::CorePin second;
    CHECK(first.pin(false).find("not pinned") == 0);
    const std::string one = first.pin(true);
    const std::string other = second.pin(true);
    CHECK(one.find("pinned to") != std::string::npos);
    CHECK(one != other || one.find("not pinned") == 0);
  });
  loop.join();
}
