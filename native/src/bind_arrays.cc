// Reading source arrays: deflated members, Fortran order, byte order.
#include <algorithm>
#include <array>
#include <memory>
#include <thread>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "arrays/foreground.h"
#include "arrays/place.h"
#include "arrays/reorder.h"
#include "bind_mapping.h"
#include "hash/crc32.h"
#include "inflate/stream.h"
#include "kernels/kernels.h"

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
  return Task::run(info.Env(), [work] {
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
    }));
  }

  explicit Inflate(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Inflate>(info) {
    Stretch source = Stretch::of(info, 0, "compressed");
    const uint64_t inflated = integer_argument(info, 1, "inflatedBytes");
    const uint64_t every = integer_argument(info, 2, "pointEveryBytes");
    const bool gzip = info[3].IsBoolean() && info[3].As<Napi::Boolean>().Value();
    state_ = std::make_shared<State>(std::move(source), inflated, every, gzip ? inflate::Framing::Gzip : inflate::Framing::Raw);
  }

 private:
  struct State {
    State(Stretch&& given, uint64_t inflated, uint64_t every, inflate::Framing framing) : source(std::move(given)), inflated(inflated), stream(source.data, source.size, inflated, every, framing) {}
    Stretch source;
    uint64_t inflated;
    inflate::Stream stream;
  };

  // A task holds the state and with it the source, so a read outlives the object it was asked of.
  static Napi::Value run(Napi::Env env, std::shared_ptr<State> state, std::function<void(inflate::Stream&)> work) {
    return Task::run(env, [state, work = std::move(work)] {
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

  std::shared_ptr<State> state_;
};

// foregroundBoxes(data, dtype, count, shape, axes, threshold, out)
Napi::Value foreground_boxes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Work {
    Bytes data, out;
    std::vector<size_t> shape;
    std::array<size_t, 3> axes;
    int dtype;
    size_t count, item_bytes;
    double threshold;
  };
  auto work = std::make_shared<Work>();
  work->data = bytes_argument(info, 0, "data");
  work->dtype = static_cast<int>(integer_argument(info, 1, "dtype", 0, 255));
  if (!arrays::can_compare(work->dtype)) throw_range(env, "dtype must be one that can be compared");
  work->count = static_cast<size_t>(integer_argument(info, 2, "count"));
  if (!info[3].IsArray() || !info[4].IsArray() || !info[5].IsNumber()) throw_type(env, "shape and axes must be arrays, threshold a number");
  const Napi::Array shape = info[3].As<Napi::Array>(), axes = info[4].As<Napi::Array>();
  uint64_t bytes = arrays::placed_size(work->dtype);
  if (bytes == 0) bytes = work->dtype == kFloat16 || work->dtype == kBFloat16 ? 2 : 1;
  for (uint32_t axis = 0; axis < shape.Length(); axis++) {
    const Napi::Value extent = shape.Get(axis);
    const double value = extent.IsNumber() ? extent.As<Napi::Number>().DoubleValue() : -1;
    if (!(value >= 0 && value <= 2147483647.0) || value != std::floor(value)) throw_range(env, "extents must be integers from 0 below 2^31");
    work->shape.push_back(static_cast<size_t>(value));
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(value), &bytes)) throw_range(env, "the shape is too large");
  }
  if (work->shape.empty() || axes.Length() != 3) throw_range(env, "there must be three axes");
  for (uint32_t k = 0; k < 3; k++) {
    const Napi::Value axis = axes.Get(k);
    const double value = axis.IsNumber() ? axis.As<Napi::Number>().DoubleValue() : -1;
    if (!(value >= 0 && value < static_cast<double>(work->shape.size())) || value != std::floor(value)) throw_range(env, "axes must be of the shape");
    work->axes[k] = static_cast<size_t>(value);
  }
  work->item_bytes = static_cast<size_t>(bytes);
  work->threshold = info[5].As<Napi::Number>().DoubleValue();
  work->out = typed_argument(info, 6, "out", napi_int32_array, "Int32Array");
  uint64_t all = 0;
  if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(work->count), &all) || all != work->data.size) throw_range(env, "the data do not have the size of their shape");
  if (work->out.size != work->count * 6 * sizeof(int32_t)) throw_range(env, "there must be six numbers for each item");
  return Task::run(env, [work] {
    for (size_t item = 0; item < work->count; item++) {
      const arrays::ForegroundBox box = arrays::foreground_box(work->data.data + item * work->item_bytes, work->dtype, work->shape, work->axes, work->threshold);
      int32_t* out = reinterpret_cast<int32_t*>(work->out.data) + 6 * item;
      for (int k = 0; k < 3; k++) out[k] = static_cast<int32_t>(box.start[k]), out[3 + k] = static_cast<int32_t>(box.stop[k]);
    }
  }, [](Napi::Env env) { return env.Undefined(); });
}

}  // namespace

void init_arrays(Napi::Env env, Napi::Object exports) {
  exports.Set("fromFortran", Napi::Function::New<from_fortran>(env, "fromFortran"));
  exports.Set("placeBox", Napi::Function::New<place_box>(env, "placeBox"));
  exports.Set("placeFile", Napi::Function::New<place_file>(env, "placeFile"));
  exports.Set("foregroundBoxes", Napi::Function::New<foreground_boxes>(env, "foregroundBoxes"));
  exports.Set("copySwapped", Napi::Function::New<copy_swapped>(env, "copySwapped"));
  exports.Set("crc32Async", Napi::Function::New<crc32_async>(env, "crc32Async"));
  Inflate::init(env, exports);
}

}  // namespace tc
