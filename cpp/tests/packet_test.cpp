#include "rl/packet.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "check.hpp"
#include "rl/reply_reader.hpp"

namespace {

std::vector<std::uint8_t> reply(std::uint8_t id, std::uint8_t status, const std::vector<std::uint8_t>& data) {
  std::vector<std::uint8_t> out(5);
  out[0] = out[1] = 0xFF;
  out[2] = id;
  out[3] = static_cast<std::uint8_t>(data.size() + 2);
  out[4] = status;
  for (const std::uint8_t byte : data) out.push_back(byte);
  out.push_back(rl::checksum({out.data() + 2, out.size() - 2}));
  return out;
}

void add(std::vector<std::uint8_t>& stream, const std::vector<std::uint8_t>& part) {
  for (const std::uint8_t byte : part) stream.push_back(byte);
}

}  // namespace

TEST_CASE("a request that does not fit a packet is empty") {
  const std::vector<std::uint8_t> data(260);
  CHECK(rl::encode_write(rl::Instruction::write, 1, 42, data).size() == 0);
  CHECK(rl::encode_write(rl::Instruction::write, 1, 42, {data.data(), 243}).size() == 250);
  CHECK(rl::encode_write(rl::Instruction::write, 1, 42, {data.data(), 244}).size() == 0);
  const std::uint8_t ids[2] = {1, 2};
  CHECK(rl::encode_sync_write(42, 2, ids, {data.data(), 3}).size() == 0);
}

TEST_CASE("sign and magnitude come back for every value that fits") {
  for (const unsigned bit : {10U, 11U, 15U}) {
    const int most = (1 << bit) - 1;
    for (int v = -most; v <= most; v += 7) {
      CHECK(rl::sign_magnitude_decode(rl::sign_magnitude_encode(v, bit), bit) == v);
    }
    CHECK(!rl::sign_magnitude_fits(most + 1, bit));
  }
}

TEST_CASE("the reader means the same however a damaged stream is cut") {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same streams every time
  const auto any = [&random](std::size_t below) { return static_cast<unsigned>(random() % below); };
  rl::ReplyReader whole;
  rl::ReplyReader pieces;
  const std::uint8_t ids[3] = {1, 2, 3};
  const auto request = rl::encode_sync_read(56, 2, ids);
  for (int turn = 0; turn < 5000; ++turn) {
    std::vector<std::uint8_t> stream;
    for (std::uint8_t id = 1; id <= 3; ++id) {
      add(stream, reply(id, 0, {static_cast<std::uint8_t>(any(256)), static_cast<std::uint8_t>(any(256))}));
    }
    for (unsigned k = any(4); k > 0; --k)
      stream[any(stream.size())] ^= static_cast<std::uint8_t>(1U << any(8));
    if (any(3) == 0) stream.erase(stream.begin() + any(stream.size()));
    REQUIRE(whole.begin(request.bytes(), ids, 2, rl::EchoMode::none));
    REQUIRE(pieces.begin(request.bytes(), ids, 2, rl::EchoMode::none));
    whole.feed(stream);
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t n = std::min<std::size_t>(1 + any(5), stream.size() - at);
      pieces.feed({stream.data() + at, n});
      at += n;
    }
    CHECK(whole.arrived() == pieces.arrived());
    CHECK(whole.rejected() == pieces.rejected());
    for (std::size_t i = 0; i < 3; ++i) CHECK(whole.replies()[i].data == pieces.replies()[i].data);
  }
}

TEST_CASE("one damaged reply does not cost the others") {
  rl::ReplyReader reader;
  const std::uint8_t ids[3] = {1, 2, 3};
  const auto request = rl::encode_sync_read(56, 2, ids);
  for (std::size_t byte = 0; byte < 8; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto first = reply(1, 0, {10, 20});
      first[byte] ^= static_cast<std::uint8_t>(1U << bit);
      auto stream = first;
      add(stream, reply(2, 0, {30, 40}));
      add(stream, reply(3, 32, {50, 60}));
      REQUIRE(reader.begin(request.bytes(), ids, 2, rl::EchoMode::none));
      reader.feed(stream);
      CHECK(!reader.replies()[0].arrived);
      CHECK(reader.replies()[2].arrived);
      CHECK(reader.replies()[2].status == 32);
    }
  }
}

TEST_CASE(
    "a shorter reply whose length was damaged does not pass with the next header's mark as its checksum") {
  const std::uint8_t ids[2] = {1, 2};
  for (const std::size_t more : {1U, 2U}) {
    for (unsigned value = 0; value < 256; ++value) {
      rl::ReplyReader reader;
      const std::size_t length = 4;
      const auto request = rl::encode_sync_read(56, length, ids);
      std::vector<std::uint8_t> stream =
          reply(1, 0, std::vector<std::uint8_t>(length - more, static_cast<std::uint8_t>(value)));
      stream[3] = static_cast<std::uint8_t>(stream[3] + more);
      add(stream, reply(2, 0, {7, 8, 9, 10}));
      CHECK(rl::parse_packet(stream).kind == rl::ParseKind::packet);  // by itself it is one
      REQUIRE(reader.begin(request.bytes(), ids, length, rl::EchoMode::none, true));
      reader.feed(stream);
      CHECK(!reader.replies()[0].arrived);
      CHECK(reader.replies()[1].arrived);
    }
  }
}

TEST_CASE("more input than the buffer holds is read in full") {
  rl::ReplyReader reader;
  const std::uint8_t id = 9;
  const auto request = rl::encode_read(9, 56, 2);
  REQUIRE(reader.begin(request.bytes(), {&id, 1}, 2, rl::EchoMode::none));
  std::vector<std::uint8_t> stream(10'000, 0xFF);
  add(stream, reply(9, 0, {1, 2}));
  reader.feed(stream);
  CHECK(reader.complete());
}
