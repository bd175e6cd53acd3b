#include "check.hpp"

/// An argument: only the cases whose name holds it.
int main(int count, char** words) { return check::run_all(count > 1 ? words[1] : nullptr); }
