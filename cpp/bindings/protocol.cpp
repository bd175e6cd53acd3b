#include <pybind11/stl.h>

#include <stdexcept>
#include <string_view>
#include <vector>

#include "bindings.hpp"
#include "rl/packet.hpp"
#include "rl/reply_reader.hpp"

namespace {

rl::Bytes bytes_of(std::string_view view) {
  return {reinterpret_cast<const std::uint8_t*>(view.data()), view.size()};
}

template <typename T>
T field(const py::kwargs& fields, const char* name, T otherwise) {
  return fields.contains(name) ? fields[name].cast<T>() : otherwise;
}

std::uint8_t byte_field(const py::kwargs& fields, const char* name, int otherwise = -1) {
  const int value = field<int>(fields, name, otherwise);
  if (value < 0 || value > 255) throw py::value_error(std::string(name) + " is missing or not a byte");
  return static_cast<std::uint8_t>(value);
}

std::vector<std::uint8_t> ids_field(const py::kwargs& fields) {
  return field<std::vector<std::uint8_t>>(fields, "ids", {});
}

/// `data` as bytes, as a list of bytes (one each id), or `value`/`values` with `size` in the protocol's byte
/// order.
std::vector<std::uint8_t> data_field(const py::kwargs& fields) {
  std::vector<std::uint8_t> out;
  const auto add = [&out](std::string_view part) {
    for (const char c : part) out.push_back(static_cast<std::uint8_t>(c));
  };
  if (fields.contains("data")) {
    const py::object data = fields["data"];
    if (py::isinstance<py::bytes>(data)) {
      add(data.cast<std::string>());
    } else {
      for (const py::handle part : data) add(part.cast<std::string>());
    }
    return out;
  }
  const auto order = field<int>(fields, "protocol", 0) == 0 ? rl::WordOrder::little : rl::WordOrder::big;
  const int size = field<int>(fields, "size", 2);
  auto values = field<std::vector<int>>(fields, "values", {});
  if (fields.contains("value")) values.push_back(fields["value"].cast<int>());
  for (const int value : values) {
    if (value < 0 || value > (size == 1 ? 0xFF : 0xFFFF))
      throw py::value_error("value does not fit its size");
    const auto word = rl::encode_word(static_cast<std::uint16_t>(value), order);
    if (size == 1) {
      out.push_back(static_cast<std::uint8_t>(value));
    } else {
      out.insert(out.end(), word.begin(), word.end());
    }
  }
  return out;
}

rl::Request build(const std::string& instruction, const py::kwargs& fields) {
  using rl::Instruction;
  const std::vector<std::uint8_t> data = data_field(fields);
  const std::vector<std::uint8_t> ids = ids_field(fields);
  if (instruction == "ping") return rl::encode_plain(Instruction::ping, byte_field(fields, "id"));
  if (instruction == "action")
    return rl::encode_plain(Instruction::action, byte_field(fields, "id", rl::kBroadcast));
  if (instruction == "recovery") return rl::encode_plain(Instruction::recovery, byte_field(fields, "id"));
  if (instruction == "reboot") return rl::encode_plain(Instruction::reboot, byte_field(fields, "id"));
  const std::uint8_t address = byte_field(fields, "address");
  if (instruction == "read") {
    return rl::encode_read(byte_field(fields, "id"), address, byte_field(fields, "count"));
  }
  if (instruction == "sync_read") return rl::encode_sync_read(address, byte_field(fields, "count"), ids);
  if (instruction == "write")
    return rl::encode_write(Instruction::write, byte_field(fields, "id"), address, data);
  if (instruction == "reg_write") {
    return rl::encode_write(Instruction::reg_write, byte_field(fields, "id"), address, data);
  }
  if (instruction == "sync_write") {
    const auto each = ids.empty() ? 0 : data.size() / ids.size();
    return rl::encode_sync_write(address, static_cast<std::uint8_t>(each), ids, data);
  }
  throw py::value_error("there is no instruction '" + instruction + "'");
}

py::bytes encode_request(const std::string& instruction, const py::kwargs& fields) {
  const rl::Request request = build(instruction, fields);
  if (request.size() == 0) throw py::value_error(instruction + ": the content does not fit a packet");
  return {reinterpret_cast<const char*>(request.bytes().data()), request.size()};
}

py::tuple parse_packet(const py::bytes& data) {
  const auto parsed = rl::parse_packet(bytes_of(std::string_view(data)));
  return py::make_tuple(parsed.kind, parsed.consumed);
}

void feed_in_pieces(rl::ReplyReader& reader, rl::Bytes stream, const std::vector<std::size_t>& pieces) {
  for (const std::size_t piece : pieces) {
    const std::size_t part = std::min(piece, stream.size());
    reader.feed(stream.first(part));
    stream = stream.subspan(part);
  }
  reader.feed(stream);
}

/// Values by id: two bytes are a word with sign bit 15, one byte is unsigned; other lengths stay bytes.
py::object value_of(const rl::Reply& reply, std::size_t length) {
  if (length == 1) return py::int_(reply.data[0]);
  if (length == 2) {
    return py::int_(
        rl::sign_magnitude_decode(rl::decode_word({reply.data.data(), 2}, rl::WordOrder::little), 15));
  }
  return py::bytes(reinterpret_cast<const char*>(reply.data.data()), length);
}

py::dict outcome(const rl::ReplyReader& reader, bool ping) {
  py::dict values;
  py::dict status;
  py::list missing;
  py::dict out;
  for (const rl::Reply& reply : reader.replies()) {
    const py::int_ id(reply.id);
    if (!reply.arrived) {
      missing.append(id);
      continue;
    }
    if (!ping) values[id] = value_of(reply, reader.length());
    if (!ping && reply.status != 0) status[id] = reply.status;
    if (ping) out["status"] = reply.status;
    if (reader.length() == 2) out["raw"] = rl::decode_word({reply.data.data(), 2}, rl::WordOrder::little);
  }
  if (!ping) out["values"] = values;
  if (status.size() > 0) out["status"] = status;
  out["echo"] = reader.echo_seen();
  if (reader.arrived() == 0) {
    out["error"] = reader.rejected() > 0 ? "no valid reply" : "timeout";
  } else if (!missing.empty()) {
    out["missing"] = missing;
  }
  return out;
}

py::dict decode_stream(const py::bytes& rx, const py::bytes& tx, const py::dict& expect,
                       const std::vector<std::size_t>& pieces) {
  const bool ping = expect["kind"].cast<std::string>() == "ping";
  std::vector<std::uint8_t> ids;
  if (expect.contains("ids")) {
    ids = expect["ids"].cast<std::vector<std::uint8_t>>();
  } else {
    ids = {expect["id"].cast<std::uint8_t>()};
  }
  const auto flag = [&](const char* name) { return expect.contains(name) && expect[name].cast<bool>(); };
  const std::size_t length = ping ? 0 : expect["length"].cast<std::size_t>();
  auto echo = flag("adapter_echoes") ? rl::EchoMode::skip : rl::EchoMode::none;
  if (flag("probe")) echo = rl::EchoMode::probe;
  const auto reader = std::make_unique<rl::ReplyReader>();
  if (!reader->begin(bytes_of(std::string_view(tx)), ids, length, echo))
    throw py::value_error("expect: too large");
  // What waited before the request is discarded before it goes out.
  if (!flag("arrived_before_request")) feed_in_pieces(*reader, bytes_of(std::string_view(rx)), pieces);
  return outcome(*reader, ping);
}

}  // namespace

void register_protocol(py::module_& m) {
  py::enum_<rl::ParseKind>(m, "ParseKind")
      .value("NEED_MORE", rl::ParseKind::need_more)
      .value("NOISE", rl::ParseKind::noise)
      .value("CORRUPT", rl::ParseKind::corrupt)
      .value("PACKET", rl::ParseKind::packet);
  m.def("parse_packet", &parse_packet, py::arg("data"),
        "What the first bytes are, and how many are settled.");
  m.def("encode_request", &encode_request, py::arg("instruction"),
        "One request: ping, read, write, reg_write, action, sync_read, sync_write, reboot, recovery.");
  m.def("decode_stream", &decode_stream, py::arg("rx"), py::arg("tx"), py::arg("expect"),
        py::arg("pieces") = std::vector<std::size_t>{}, "What one request's reply stream means.");
  m.def(
      "sign_magnitude_encode",
      [](int value, unsigned bit) {
        if (bit > 15 || !rl::sign_magnitude_fits(value, bit)) throw py::value_error("the value does not fit");
        return rl::sign_magnitude_encode(value, bit);
      },
      py::arg("value"), py::arg("sign_bit"));
  m.def(
      "sign_magnitude_decode",
      [](std::uint16_t word, unsigned bit) {
        if (bit > 15) throw py::value_error("there is no such bit");
        return rl::sign_magnitude_decode(word, bit);
      },
      py::arg("word"), py::arg("sign_bit"));
}
