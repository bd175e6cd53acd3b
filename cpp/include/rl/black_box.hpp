/// The last cycles before a fault, on disk.
///
/// A file is text up to an empty line (`rl black box 3`, then `name value` lines), then `records` rows of
/// `words` little-endian 64-bit words each: cycle, deadline, woke, wrote, read, done, captured (ns), missing
/// and skipped (bits), state, then measured, goal and requested of each axis as doubles. One more word is the
/// CRC-32 (zlib's) of everything before it.
#pragma once

#include <cstdint>
#include <string>

#include "rl/error.hpp"
#include "rl/shared_loop.hpp"

namespace rl {

constexpr std::size_t kBoxRecords = 1000;

/// Makes the folder where it is not there. io error when no file can be written into it, or when the wall
/// clock (seconds since 1970), by which the files are named, has never been set.
Result<> make_ready(const std::string& folder, std::int64_t wall_clock);

/// Writes a new file in `folder`, aside first, synced, then renamed. Allocates nothing. False when it could
/// not; `path` is where it lies then.
bool write_black_box(std::string_view folder, const SharedLoop& shared, const RecordRing& records,
                     Text<1024>& path) noexcept;

}  // namespace rl
