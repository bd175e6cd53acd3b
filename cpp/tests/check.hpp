/// The few macros of doctest that these tests use, under the same names, so that a fresh machine needs
/// nothing but a compiler. Moving to doctest is a change of this include.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace check {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int& failures() {
  static int count = 0;
  return count;
}
inline int& checks() {
  static int count = 0;
  return count;
}
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};
struct Abandoned {};

/// How many random sequences a test plays: RL_SEQUENCES=1000000 for the long form (`make sequences`).
inline int sequences(int usual) {
  const char* const given = std::getenv("RL_SEQUENCES");
  const int asked = given == nullptr ? 0 : std::atoi(given);
  return asked > 0 ? asked : usual;
}

inline bool verdict(bool good, const char* file, int line, const char* text) {
  ++checks();
  if (good) return true;
  constexpr int kEnough = 50;
  if (++failures() <= kEnough) std::fprintf(stderr, "%s:%d: not true: %s\n", file, line, text);
  return false;
}

/// `wanted`: only the cases whose name holds it; nullptr: all.
inline int run_all(const char* wanted = nullptr) {
  for (const Case& c : cases()) {
    if (wanted != nullptr && std::strstr(c.name, wanted) == nullptr) continue;
    const int before = failures();
    try {
      c.run();
    } catch (const Abandoned&) {
    }
    if (failures() != before) std::fprintf(stderr, "FAILED: %s\n", c.name);
  }
  std::printf("%zu cases, %d checks, %d failures\n", cases().size(), checks(), failures());
  return failures() == 0 && checks() > 0 ? 0 : 1;
}

}  // namespace check

#define RL_JOIN2(a, b) a##b
#define RL_JOIN(a, b) RL_JOIN2(a, b)
#define TEST_CASE(name)                                                                         \
  static void RL_JOIN(case_, __LINE__)();                                                       \
  static const check::Register RL_JOIN(registered_, __LINE__)(name, &RL_JOIN(case_, __LINE__)); \
  static void RL_JOIN(case_, __LINE__)()
#define CHECK(...) check::verdict(static_cast<bool>(__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define REQUIRE(...)                                   \
  do {                                                 \
    if (!CHECK(__VA_ARGS__)) throw check::Abandoned{}; \
  } while (false)
