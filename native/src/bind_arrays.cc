// Reading source arrays: deflated members, Fortran order, byte order.
#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "arrays/place.h"
#include "arrays/reorder.h"
#include "bind_mapping.h"
#include "crew.h"
#include "hash/crc32.h"
#include "inflate/stream.h"

namespace tc {
namespace {

// Below this a thread costs more than it saves.
constexpr size_t BYTES_PER_THREAD = 4 << 20;
constexpr unsigned THREADS_MAX = 8;

unsigned threads_for(size_t bytes) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  return static_cast<unsigned>(std::clamp<size_t>(bytes / BYTES_PER_THREAD, 1, std::min(cores, THREADS_MAX)));
}

// One stretch of memory given as one array, or as several that follow each other without a gap: typed arrays end at 4 GiB, files do not.
struct Stretch {
  std::vector<Bytes> pieces;
  const uint8_t* data = nullptr;
  size_t size = 0;

  void add(Napi::Env env, const Napi::Value& value, const char* name) {
    require_bytes(env, value, name);
    Bytes piece(value);
    if (piece.size == 0) return;
    if (data == nullptr) data = piece.data;
    if (piece.data != data + size) throw_type(env, std::string(name) + " must be pieces that follow each other in memory");
    size += piece.size;
    pieces.push_back(std::move(piece));
  }
  static Stretch of(const Napi::CallbackInfo& info, size_t index, const char* name) {
    Stretch stretch;
    if (!info[index].IsArray()) {
      stretch.add(info.Env(), info[index], name);
      return stretch;
    }
    const Napi::Array list = info[index].As<Napi::Array>();
    for (uint32_t k = 0; k < list.Length(); k++) stretch.add(info.Env(), list.Get(k), name);
    return stretch;
  }
};

// Shape, element size and row range of an array whose parts have been checked against the bytes of the source and of the result.
struct Rows {
  std::vector<size_t> shape;
  unsigned element = 0;
  size_t start = 0, stop = 0;

  // Arguments: shape, elementSize, start, stop.
  Rows(const Napi::CallbackInfo& info, size_t index, uint64_t source_size, uint64_t out_size) {
    const Napi::Env env = info.Env();
    if (!info[index].IsArray()) throw_type(env, "shape must be an array");
    const Napi::Array extents = info[index].As<Napi::Array>();
    element = static_cast<unsigned>(integer_argument(info, index + 1, "elementSize", 1, 16));
    if ((element & (element - 1)) != 0) throw_range(env, "elementSize must be 1, 2, 4, 8 or 16");
    uint64_t row = element;
    for (uint32_t axis = 0; axis < extents.Length(); axis++) {
      const Napi::Value extent = extents.Get(axis);
      const double value = extent.IsNumber() ? extent.As<Napi::Number>().DoubleValue() : -1;
      if (!(value >= 0 && value <= kMaxSafeInteger) || value != std::floor(value)) throw_range(env, "extents must be integers from 0");
      shape.push_back(static_cast<size_t>(value));
      if (axis > 0 && __builtin_mul_overflow(row, static_cast<uint64_t>(shape.back()), &row)) throw_range(env, "the shape is too large");
    }
    if (shape.empty()) throw_range(env, "a 0-d array has no rows");
    start = static_cast<size_t>(integer_argument(info, index + 2, "start", 0, static_cast<double>(shape[0])));
    stop = static_cast<size_t>(integer_argument(info, index + 3, "stop", static_cast<double>(start), static_cast<double>(shape[0])));
    uint64_t all = 0;
    if (__builtin_mul_overflow(row, static_cast<uint64_t>(shape[0]), &all) || all != source_size) throw_range(env, "the source does not have the size of its shape");
    if ((stop - start) * row != out_size) throw_range(env, "the result does not have the size of its rows");
  }
};

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

Napi::Value from_fortran(const Napi::CallbackInfo& info) {
  struct Work {
    Stretch source;
    Bytes out;
  };
  auto work = std::make_shared<Work>(Work{Stretch::of(info, 0, "source"), bytes_argument(info, 5, "out")});
  const Rows rows(info, 1, work->source.size, work->out.size);
  return Task::run(info.Env(), [work, rows] {
    arrays::from_fortran(work->source.data, rows.shape, rows.element, rows.start, rows.stop, work->out.data, threads_for(work->out.size));
  }, undefined);
}

Napi::Value copy_swapped(const Napi::CallbackInfo& info) {
  struct Work {
    Bytes source, out;
  };
  auto work = std::make_shared<Work>(Work{bytes_argument(info, 0, "source"), bytes_argument(info, 2, "out")});
  const auto unit = static_cast<unsigned>(integer_argument(info, 1, "unit", 1, 8));
  if ((unit & (unit - 1)) != 0) throw_range(info.Env(), "unit must be 1, 2, 4 or 8");
  if (work->source.size != work->out.size || work->source.size % unit != 0) throw_range(info.Env(), "source and out must be of equal size, a multiple of unit");
  return Task::run(info.Env(), [work, unit] {
    parallel_for(work->source.size / unit, threads_for(work->source.size), [&](size_t begin, size_t end) {
      arrays::copy_swapped(work->source.data + begin * unit, unit, work->out.data + begin * unit, (end - begin) * unit);
    });
  }, undefined);
}

// Reads rows of a C-ordered array from its file, each to a place of its own; rows that follow one another on both sides at once. Those that are resident are copied from where they are mapped.
Napi::Value read_rows(const Napi::CallbackInfo& info) {
  struct Work {
    std::shared_ptr<Mapping> mapping;
    Bytes rows, places, out, resident;
    uint64_t base, row_bytes;
    unsigned unit;
    std::vector<std::pair<uint64_t, uint64_t>> moves;
  };
  const Napi::Env env = info.Env();
  auto work = std::make_shared<Work>(Work{mapping_of(env, info[0]), typed_argument(info, 3, "rows", napi_float64_array, "Float64Array"), typed_argument(info, 4, "places", napi_float64_array, "Float64Array"),
                                          bytes_argument(info, 5, "out"), bytes_argument(info, 7, "resident"), integer_argument(info, 1, "base"), integer_argument(info, 2, "rowBytes", 1), static_cast<unsigned>(integer_argument(info, 6, "unit", 1, 8)), {}});
  const auto rows = span_of<double>(work->rows), places = span_of<double>(work->places);
  if ((work->unit & (work->unit - 1)) != 0 || work->row_bytes % work->unit != 0) throw_range(env, "unit must be 1, 2, 4 or 8 and divide a row");
  if (rows.size() != places.size() || rows.size() != work->resident.size) throw_range(env, "rows, places and resident must be equally long");
  if (work->base > work->mapping->size()) throw_range(env, "base leaves the file");
  const uint64_t there = (work->mapping->size() - work->base) / work->row_bytes, room = work->out.size / work->row_bytes;
  work->moves.reserve(rows.size());
  for (size_t k = 0; k < rows.size(); k++) {
    if (!(rows[k] >= 0 && rows[k] < static_cast<double>(there)) || rows[k] != std::floor(rows[k])) throw_range(env, "rows[" + std::to_string(k) + "] leaves the file");
    if (!(places[k] >= 0 && places[k] < static_cast<double>(room)) || places[k] != std::floor(places[k])) throw_range(env, "places[" + std::to_string(k) + "] leaves out");
    work->moves.emplace_back(static_cast<uint64_t>(rows[k]), static_cast<uint64_t>(places[k]));
  }
  return Task::run(env, [work] {
    with_codes([&] {
      const auto& moves = work->moves;
      parallel_for(moves.size(), threads_for(moves.size() * work->row_bytes), [&](size_t begin, size_t end) {
        for (size_t k = begin; k < end;) {
          size_t next = k + 1;
          const uint8_t resident = work->resident.data[k];
          while (next < end && moves[next].first == moves[next - 1].first + 1 && moves[next].second == moves[next - 1].second + 1 && work->resident.data[next] == resident) next++;
          uint8_t* const to = work->out.data + moves[k].second * work->row_bytes;
          const size_t bytes = (next - k) * work->row_bytes;
          const uint64_t from = work->base + moves[k].first * work->row_bytes;
          if (resident != 0) std::memcpy(to, work->mapping->data() + from, bytes);
          else work->mapping->read(from, to, bytes);
          if (work->unit > 1) arrays::copy_swapped(to, work->unit, to, bytes);
          k = next;
        }
      });
    });
  }, undefined);
}

std::vector<size_t> sizes_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsArray()) throw_type(info.Env(), std::string(name) + " must be an array");
  const Napi::Array list = info[index].As<Napi::Array>();
  std::vector<size_t> sizes;
  for (uint32_t k = 0; k < list.Length(); k++) {
    const Napi::Value given = list.Get(k);
    const double value = given.IsNumber() ? given.As<Napi::Number>().DoubleValue() : -1;
    if (!(value >= 0 && value <= kMaxSafeInteger) || value != std::floor(value)) throw_range(info.Env(), std::string(name) + " must be integers from 0");
    sizes.push_back(static_cast<size_t>(value));
  }
  return sizes;
}

// The box must fill the source, and the furthest of its elements must lie in the result.
void check_box(Napi::Env env, const arrays::Elements& elements, const arrays::Box& box, size_t source_size, size_t out_size) {
  if (box.extents.empty() || box.extents.size() != box.strides.size()) throw_range(env, "extents and strides must be of equal length, 1 or more");
  uint64_t bytes = arrays::placed_size(elements.from), furthest = box.offset, part = 0;
  bool fits = true, is_empty = false;
  for (size_t axis = 0; axis < box.extents.size(); axis++) {
    is_empty |= box.extents[axis] == 0;
    fits = fits && !__builtin_mul_overflow(bytes, box.extents[axis], &bytes);
    fits = fits && !__builtin_mul_overflow(box.extents[axis] == 0 ? 0 : box.extents[axis] - 1, box.strides[axis], &part) && !__builtin_add_overflow(furthest, part, &furthest);
  }
  if (!fits || bytes != source_size) throw_range(env, "the source does not have the size of the box");
  if (!is_empty && furthest >= out_size / arrays::placed_size(elements.to)) throw_range(env, "the box leaves the result");
}

// Elements, extents, strides and offset, from argument `index` on.
std::pair<arrays::Elements, arrays::Box> placing_arguments(const Napi::CallbackInfo& info, size_t index) {
  const Napi::Env env = info.Env();
  if (!info[index].IsObject()) throw_type(env, "elements must be an object");
  const Napi::Object given = info[index].As<Napi::Object>();
  const auto number = [&](const char* name) {
    if (!given.Get(name).IsNumber()) throw_type(env, std::string(name) + " must be a number");
    return given.Get(name).As<Napi::Number>().DoubleValue();
  };
  arrays::Elements elements;
  elements.from = static_cast<int>(number("from"));
  elements.to = static_cast<int>(number("to"));
  elements.swapped = given.Get("swapped").ToBoolean();
  elements.scaled = !given.Get("slope").IsUndefined();
  if (elements.scaled) {
    elements.slope = number("slope");
    elements.inter = number("inter");
  }
  if (!arrays::can_place(elements)) throw_range(env, "elements must be of dtypes that can be placed");
  return {elements, {sizes_argument(info, index + 1, "extents"), sizes_argument(info, index + 2, "strides"), static_cast<size_t>(integer_argument(info, index + 3, "offset"))}};
}

Napi::Value place_box(const Napi::CallbackInfo& info) {
  struct Work {
    Bytes source, out;
    arrays::Elements elements;
    arrays::Box box;
  };
  auto work = std::make_shared<Work>(Work{bytes_argument(info, 0, "source"), bytes_argument(info, 1, "out"), {}, {}});
  std::tie(work->elements, work->box) = placing_arguments(info, 2);
  check_box(info.Env(), work->elements, work->box, work->source.size, work->out.size);
  return Crew::run(info.Env(), Crew::Kind::Compute, [work] {
    arrays::place(work->source.data, work->elements, work->box, work->out.data, threads_for(work->source.size));
  }, undefined);
}

Napi::Value place_file(const Napi::CallbackInfo& info) {
  struct Work {
    std::shared_ptr<Mapping> mapping;
    Range source;
    Bytes out;
    arrays::Elements elements;
    arrays::Box box;
  };
  const auto mapping = mapping_of(info.Env(), info[0]);
  auto work = std::make_shared<Work>(Work{mapping, range_argument(info, 1, mapping->size()), bytes_argument(info, 3, "out"), {}, {}});
  std::tie(work->elements, work->box) = placing_arguments(info, 4);
  check_box(info.Env(), work->elements, work->box, work->source.length, work->out.size);
  return Task::run(info.Env(), [work] {
    with_codes([&] {
      const auto read = [&](uint64_t offset, uint8_t* to, size_t bytes) { work->mapping->read(work->source.offset + offset, to, bytes); };
      arrays::place_read(read, work->elements, work->box, work->out.data, threads_for(work->source.length));
    });
  }, undefined);
}

Napi::Value crc32_async(const Napi::CallbackInfo& info) {
  struct Work {
    Bytes source;
    uint32_t crc;
  };
  auto work = std::make_shared<Work>(Work{bytes_argument(info, 0, "data"), static_cast<uint32_t>(integer_argument(info, 1, "start", 0, 4294967295.0))});
  return Task::run(info.Env(), [work] { work->crc = crc32(work->source.data, work->source.size, work->crc); },
                   [work](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, work->crc); });
}

class Inflate : public Napi::ObjectWrap<Inflate> {
 public:
  static void init(Napi::Env env, Napi::Object exports) {
    exports.Set("Inflate", DefineClass(env, "Inflate", {
      InstanceMethod<&Inflate::read>("read"),
      InstanceMethod<&Inflate::read_fortran>("readFortran"),
      InstanceAccessor<&Inflate::crc>("crc32"),
      InstanceAccessor<&Inflate::used>("compressedBytes"),
      InstanceAccessor<&Inflate::points>("points"),
      InstanceAccessor<&Inflate::passed>("passed"),
      InstanceAccessor<&Inflate::work>("work"),
      InstanceMethod<&Inflate::index>("index"),
    }));
  }

  explicit Inflate(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Inflate>(info) {
    Stretch source = Stretch::of(info, 0, "compressed");
    const uint64_t inflated = integer_argument(info, 1, "inflatedBytes");
    const uint64_t every = integer_argument(info, 2, "pointEveryBytes");
    const bool gzip = info[3].IsBoolean() && info[3].As<Napi::Boolean>().Value();
    const uint64_t check = info[4].IsUndefined() ? 0 : integer_argument(info, 4, "blockBytes", static_cast<double>(inflate::HISTORY), static_cast<double>(1u << 30));
    if (check > 0 && !gzip) throw_range(info.Env(), "blocks are compared of gzip files only");
    if (info[5].IsObject()) state_ = std::make_shared<State>(std::move(source), inflated, every, index_of(info.Env(), info[5].As<Napi::Object>(), check));
    else state_ = std::make_shared<State>(std::move(source), inflated, every, gzip ? inflate::Framing::Gzip : inflate::Framing::Raw, check);
  }

 private:
  struct State {
    State(Stretch&& given, uint64_t inflated, uint64_t every, inflate::Framing framing, uint64_t check) : source(std::move(given)), inflated(inflated), stream(source.data, source.size, inflated, every, framing, check) {}
    State(Stretch&& given, uint64_t inflated, uint64_t every, inflate::Index&& index) : source(std::move(given)), inflated(inflated), stream(source.data, source.size, inflated, every, std::move(index)) {}
    Stretch source;
    uint64_t inflated;
    inflate::Stream stream;
  };

  // Numbers of an index that are its own, and of each point: see InflateIndex in src/native/addon.ts.
  static constexpr size_t kOwnNumbers = 5, kPointNumbers = 10;

  // Any numbers will do: none is used as an address. Windows have at most HISTORY bytes.
  static inflate::Index index_of(Napi::Env env, const Napi::Object& given, uint64_t block) {
    const auto typed = [&](const char* name, napi_typedarray_type type) {
      const Napi::Value value = given.Get(name);
      if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) throw_type(env, std::string("index: ") + name + " is an array of another type");
      const auto array = value.As<Napi::TypedArray>();
      return std::pair(static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength());
    };
    const auto [own, own_bytes] = typed("numbers", napi_float64_array);
    const auto [checks, checks_bytes] = typed("checks", napi_uint32_array);
    const auto [windows, windows_bytes] = typed("windows", napi_uint8_array);
    std::vector<double> numbers(own_bytes / sizeof(double));
    if (!numbers.empty()) std::memcpy(numbers.data(), own, own_bytes);
    if (block == 0 || numbers.size() < kOwnNumbers || (numbers.size() - kOwnNumbers) % kPointNumbers != 0) throw_range(env, "index: another number of numbers");
    for (const double number : numbers) {
      if (!(number >= 0 && number <= kMaxSafeInteger)) throw_range(env, "index: numbers must be safe integers");
    }
    const auto at = [&](size_t k) { return static_cast<uint64_t>(numbers[k]); };
    inflate::Index index{block, at(0), at(1), static_cast<uint32_t>(at(2)), at(3), at(4) != 0, {}, std::vector<uint32_t>(checks_bytes / sizeof(uint32_t))};
    if (checks_bytes > 0) std::memcpy(index.checks.data(), checks, checks_bytes);
    size_t from = 0;
    for (size_t k = kOwnNumbers; k < numbers.size(); k += kPointNumbers) {
      if (at(k + 1) > 2 || at(k + 8) > inflate::HISTORY || at(k + 9) > windows_bytes - from) throw_range(env, "index: a point that cannot be");
      const auto bytes = static_cast<size_t>(at(k + 9));
      const uint8_t* window = windows + from;
      index.points.push_back({at(k), {static_cast<inflate::Place::Kind>(at(k + 1)), at(k + 2), at(k + 3), static_cast<uint32_t>(at(k + 4))}, {at(k + 5), static_cast<uint32_t>(at(k + 6)), static_cast<uint32_t>(at(k + 7))}, static_cast<uint32_t>(at(k + 8)), std::vector<uint8_t>(window, window + bytes)});
      from += bytes;
    }
    return index;
  }

  Napi::Value index(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const inflate::Index index = state_->stream.index(static_cast<size_t>(integer_argument(info, 0, "from")));
    std::vector<double> numbers = {static_cast<double>(index.passed), static_cast<double>(index.member_from), static_cast<double>(index.member_crc), static_cast<double>(index.members_checked), index.complete ? 1.0 : 0.0};
    std::vector<uint8_t> windows;
    for (const inflate::Point& point : index.points) {
      const auto& [kind, block, next, left] = point.place;
      for (const uint64_t number : {point.at, static_cast<uint64_t>(kind), block, next, uint64_t{left}, point.run.from, uint64_t{point.run.crc}, uint64_t{point.run.before}, uint64_t{point.window_size}, uint64_t{point.window.size()}}) numbers.push_back(static_cast<double>(number));
      windows.insert(windows.end(), point.window.begin(), point.window.end());
    }
    const auto fill = [](auto array, const void* from, size_t bytes) {
      if (bytes > 0) std::memcpy(array.Data(), from, bytes);
      return array;
    };
    Napi::Object result = Napi::Object::New(env);
    result.Set("numbers", fill(Napi::Float64Array::New(env, numbers.size()), numbers.data(), numbers.size() * sizeof(double)));
    result.Set("checks", fill(Napi::Uint32Array::New(env, index.checks.size()), index.checks.data(), index.checks.size() * sizeof(uint32_t)));
    result.Set("windows", fill(Napi::Uint8Array::New(env, windows.size()), windows.data(), windows.size()));
    return result;
  }

  // A task holds the state and with it the source, so a read outlives the object it was asked of.
  static Napi::Value run(Napi::Env env, std::shared_ptr<State> state, std::function<void(inflate::Stream&)> work) {
    return Crew::run(env, Crew::Kind::Compute, [state, work = std::move(work)] {
      try {
        work(state->stream);
      } catch (const inflate::Damaged& damaged) {
        throw Error{"E_DEFLATE", damaged.what()};
      }
    }, undefined);
  }

  Napi::Value read(const Napi::CallbackInfo& info) {
    const uint64_t offset = integer_argument(info, 0, "offset", 0, static_cast<double>(state_->inflated));
    auto out = std::make_shared<Bytes>(bytes_argument(info, 1, "out"));
    if (out->size > state_->inflated - offset) throw_range(info.Env(), "the range leaves the inflated bytes");
    return run(info.Env(), state_, [offset, out](inflate::Stream& stream) {
      uint8_t* to = out->data;
      stream.read(offset, out->size, [&to](const uint8_t* piece, size_t size) {
        std::memcpy(to, piece, size);
        to += size;
      });
    });
  }

  Napi::Value read_fortran(const Napi::CallbackInfo& info) {
    const uint64_t offset = integer_argument(info, 0, "offset", 0, static_cast<double>(state_->inflated));
    auto out = std::make_shared<Bytes>(bytes_argument(info, 5, "out"));
    const uint64_t size = state_->inflated - offset;
    const Rows rows(info, 1, size, out->size);
    return run(info.Env(), state_, [offset, size, rows, out](inflate::Stream& stream) {
      arrays::FortranSink sink(rows.shape, rows.element, rows.start, rows.stop, out->data);
      stream.read(offset, size, [&sink](const uint8_t* piece, size_t length) { sink.push(piece, length); });
    });
  }

  Napi::Value crc(const Napi::CallbackInfo& info) {
    const auto crc = state_->stream.crc();
    return crc ? Napi::Number::New(info.Env(), *crc) : info.Env().Undefined();
  }
  Napi::Value used(const Napi::CallbackInfo& info) {
    const auto used = state_->stream.used();
    return used ? Napi::Number::New(info.Env(), static_cast<double>(*used)) : info.Env().Undefined();
  }
  Napi::Value points(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(state_->stream.points())); }

  Napi::Value passed(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(state_->stream.passed())); }
  Napi::Value work(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(state_->stream.work())); }

  std::shared_ptr<State> state_;
};

}  // namespace

void init_arrays(Napi::Env env, Napi::Object exports) {
  exports.Set("fromFortran", Napi::Function::New<from_fortran>(env, "fromFortran"));
  exports.Set("placeBox", Napi::Function::New<place_box>(env, "placeBox"));
  exports.Set("placeFile", Napi::Function::New<place_file>(env, "placeFile"));
  exports.Set("readRows", Napi::Function::New<read_rows>(env, "readRows"));
  exports.Set("copySwapped", Napi::Function::New<copy_swapped>(env, "copySwapped"));
  exports.Set("crc32Async", Napi::Function::New<crc32_async>(env, "crc32Async"));
  Inflate::init(env, exports);
}

}  // namespace tc
