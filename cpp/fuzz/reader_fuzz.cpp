/// The packet parser and the reply reader against any bytes: no crash, no hang, the same meaning however they
/// are cut.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "rl/packet.hpp"
#include "rl/reply_reader.hpp"

namespace {

void expect(bool good) {
  if (!good) std::abort();
}

void parse_all(rl::Bytes input) {
  while (!input.empty()) {
    const rl::Parsed parsed = rl::parse_packet(input);
    if (parsed.kind == rl::ParseKind::need_more) return;
    expect(parsed.consumed > 0 && parsed.consumed <= input.size());
    input = input.subspan(parsed.consumed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static rl::ReplyReader whole;
  static rl::ReplyReader pieces;
  constexpr std::array<std::uint8_t, 6> kIds = {1, 2, 3, 4, 5, 6};
  if (size < 3) return 0;
  const std::size_t count = 1 + data[0] % kIds.size();
  const std::size_t length = data[0] / 6 % 16;
  const auto echo = static_cast<rl::EchoMode>(data[1] % 3);
  const std::size_t step = 1 + data[2] % 7;
  const rl::Bytes input{data + 3, size - 3};
  parse_all(input);

  const rl::Bytes ids{kIds.data(), count};
  const rl::Request request = rl::encode_sync_read(56, static_cast<std::uint8_t>(length), ids);
  expect(whole.begin(request.bytes(), ids, length, echo));
  expect(pieces.begin(request.bytes(), ids, length, echo));
  whole.feed(input);
  for (std::size_t at = 0; at < input.size(); at += step) {
    pieces.feed(input.subspan(at, std::min(step, input.size() - at)));
  }
  expect(whole.arrived() == pieces.arrived() && whole.rejected() == pieces.rejected());
  expect(whole.echo_seen() == pieces.echo_seen());
  for (std::size_t i = 0; i < count; ++i) {
    const rl::Reply& a = whole.replies()[i];
    const rl::Reply& b = pieces.replies()[i];
    expect(a.arrived == b.arrived);
    if (a.arrived) expect(a.status == b.status && a.status <= rl::kLargestStatus && a.data == b.data);
  }
  return 0;
}
