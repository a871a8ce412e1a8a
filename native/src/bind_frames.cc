// Compressed frames of the store, and the byte shuffle alone: see src/native/addon.ts.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "arguments.h"
#include "crew.h"
#include "frames/batch.h"
#include "program/isa.h"

namespace tc {
namespace {

using frames::kFrameBound;
using frames::kFrameBytes;

frames::Codec codec_argument(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<frames::Codec>(integer_argument(info, index, "codec", 0, frames::kCodecs - 1));
}

const char* what_is_missing(frames::Codec codec) {
  return codec == frames::Codec::lz4 ? frames::lz4_missing() : codec == frames::Codec::zstd ? frames::zstd_missing() : frames::gzip_missing();
}

frames::Codec usable_codec(const Napi::CallbackInfo& info, size_t index) {
  const auto codec = codec_argument(info, index);
  if (const char* missing = what_is_missing(codec)) throw_coded(info.Env(), {"E_MISSING_DEPENDENCY", missing});
  return codec;
}

Napi::Value missing_codec(const Napi::CallbackInfo& info) {
  const char* const missing = what_is_missing(codec_argument(info, 0));
  return missing == nullptr ? info.Env().Undefined() : Napi::String::New(info.Env(), missing);
}

std::vector<double> doubles_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Bytes bytes = typed_argument(info, index, name, napi_float64_array, "Float64Array");
  const auto values = span_of<double>(bytes);
  for (const double value : values) {
    if (!(value >= 0 && value <= kMaxSafeInteger) || value != std::floor(value)) throw_range(info.Env(), std::string(name) + " must hold integers from 0");
  }
  return {values.begin(), values.end()};
}

// Triples begin, end, element.
std::vector<frames::Shuffled> shuffled_argument(const Napi::CallbackInfo& info, size_t index) {
  const auto values = doubles_argument(info, index, "shuffled");
  if (values.size() % 3 != 0) throw_range(info.Env(), "shuffled must hold triples");
  std::vector<frames::Shuffled> shuffled;
  uint64_t before = 0;
  for (size_t k = 0; k < values.size(); k += 3) {
    const frames::Shuffled range{static_cast<uint64_t>(values[k]), static_cast<uint64_t>(values[k + 1]), static_cast<unsigned>(values[k + 2])};
    if (range.begin < before || range.end < range.begin) throw_range(info.Env(), "shuffled ranges must follow one another");
    if (values[k + 2] != 2 && values[k + 2] != 4 && values[k + 2] != 8) throw_range(info.Env(), "shuffled elements have 2, 4 or 8 bytes");
    before = range.end;
    if (range.end > range.begin) shuffled.push_back(range);
  }
  return shuffled;
}

Napi::Value compress_frames(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Work {
    frames::CompressWork work;
    std::vector<Bytes> parts;
    Bytes out;
    std::vector<double> sizes;
  };
  auto state = std::make_shared<Work>();
  state->work.codec = usable_codec(info, 0);
  state->work.level = static_cast<int>(integer_argument(info, 1, "level", 1, 22));
  state->work.offset = integer_argument(info, 2, "offset");
  if (state->work.offset % kFrameBytes != 0) throw_range(env, "offset must be where a frame begins");
  if (!info[3].IsArray()) throw_type(env, "parts must be an array");
  const Napi::Array parts = info[3].As<Napi::Array>();
  uint64_t total = 0;
  for (uint32_t k = 0; k < parts.Length(); k++) {
    require_bytes(env, parts.Get(k), "a part");
    Bytes part(parts.Get(k));
    total += part.size;
    state->work.pieces.push_back({part.data, part.size});
    state->parts.push_back(std::move(part));
  }
  state->work.shuffled = shuffled_argument(info, 4);
  state->out = bytes_argument(info, 5, "out");
  const auto threads = static_cast<unsigned>(integer_argument(info, 6, "threads", 1, 1024));
  if (state->out.size / kFrameBound < std::max<uint64_t>(1, (total + kFrameBytes - 1) / kFrameBytes)) throw_range(env, "out is too small for these frames");
  return Task::run(env, [state, threads] { frames::compress(state->work, state->out.data, state->sizes, threads); },
                   [state](Napi::Env env) -> Napi::Value {
                     Napi::Float64Array sizes = Napi::Float64Array::New(env, state->sizes.size());
                     std::copy(state->sizes.begin(), state->sizes.end(), sizes.Data());
                     return sizes;
                   });
}

Napi::Value decompress_frames(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Work {
    frames::DecompressWork work;
    Bytes source, out, head, tail;
    std::optional<frames::Fault> fault;
  };
  auto state = std::make_shared<Work>();
  frames::DecompressWork& work = state->work;
  work.codec = usable_codec(info, 0);
  work.file_bytes = integer_argument(info, 1, "fileBytes");
  work.first = integer_argument(info, 2, "first", 0, kMaxSafeInteger / kFrameBytes - 1);
  state->source = bytes_argument(info, 3, "source");
  for (const double end : doubles_argument(info, 4, "ends")) {
    if (end > static_cast<double>(state->source.size) || (!work.ends.empty() && end < static_cast<double>(work.ends.back()))) throw_range(env, "ends must ascend inside the source");
    work.ends.push_back(static_cast<uint64_t>(end));
  }
  const uint64_t all = std::max<uint64_t>(1, work.file_bytes / kFrameBytes + (work.file_bytes % kFrameBytes != 0));
  if (work.ends.size() < 2 || work.first + work.ends.size() - 1 > all) throw_range(env, "there are no such frames");
  const size_t count = work.ends.size() - 1;
  work.offset = integer_argument(info, 5, "offset", 0, static_cast<double>(work.file_bytes));
  state->out = bytes_argument(info, 6, "out");
  const uint64_t begin = work.first * kFrameBytes, end = std::min(work.file_bytes, (work.first + count) * kFrameBytes);
  if (work.offset < begin || work.offset > end || state->out.size > end - work.offset) throw_range(env, "the range leaves the frames");
  // Every frame has a part in the range; otherwise where its bytes go would lie outside `out`.
  if (count > 1 && (work.offset >= begin + kFrameBytes || work.offset + state->out.size <= (work.first + count - 1) * kFrameBytes)) throw_range(env, "the range does not need all frames");
  const auto room = [&](size_t index, const char* name, uint64_t frame, Bytes& bytes) -> uint8_t* {
    if (info[index].IsUndefined()) return nullptr;
    bytes = bytes_argument(info, index, name);
    if (bytes.size < std::min<uint64_t>(kFrameBytes, work.file_bytes - frame * kFrameBytes)) throw_range(env, std::string(name) + " is too small for a frame");
    return bytes.data;
  };
  work.head = room(7, "head", work.first, state->head);
  work.tail = room(8, "tail", work.first + count - 1, state->tail);
  work.shuffled = shuffled_argument(info, 9);
  const auto threads = static_cast<unsigned>(integer_argument(info, 10, "threads", 1, 1024));
  work.source = state->source.data;
  work.out = state->out.data;
  work.size = state->out.size;
  return Crew::run(env, Crew::Kind::Copy, [state, threads] { state->fault = frames::decompress(state->work, threads); },
                   [state](Napi::Env env) -> Napi::Value {
                     if (!state->fault) return env.Undefined();
                     Napi::Object fault = Napi::Object::New(env);
                     fault.Set("frame", Napi::Number::New(env, static_cast<double>(state->fault->frame)));
                     fault.Set("reason", Napi::String::New(env, state->fault->reason));
                     return fault;
                   });
}

template <bool back>
Napi::Value shuffle_bytes(const Napi::CallbackInfo& info) {
  const Bytes in = bytes_argument(info, 0, "source");
  const auto element = static_cast<unsigned>(integer_argument(info, 1, "element", 2, 8));
  const Bytes out = bytes_argument(info, 2, "out");
  if (element != 2 && element != 4 && element != 8) throw_range(info.Env(), "element must be 2, 4 or 8");
  if (in.size != out.size || (in.data < out.data + out.size && out.data < in.data + in.size)) throw_range(info.Env(), "source and out must be different memory of equal size");
  if (in.size > 0) (back ? selected_kernels().unshuffle : selected_kernels().shuffle)(in.data, in.size, element, out.data);
  return info.Env().Undefined();
}

}  // namespace

void init_frames(Napi::Env env, Napi::Object exports) {
  exports.Set("missingCodec", Napi::Function::New<missing_codec>(env, "missingCodec"));
  exports.Set("compressFrames", Napi::Function::New<compress_frames>(env, "compressFrames"));
  exports.Set("decompressFrames", Napi::Function::New<decompress_frames>(env, "decompressFrames"));
  exports.Set("shuffleBytes", Napi::Function::New<shuffle_bytes<false>>(env, "shuffleBytes"));
  exports.Set("unshuffleBytes", Napi::Function::New<shuffle_bytes<true>>(env, "unshuffleBytes"));
  exports.Set("frameBound", Napi::Number::New(env, static_cast<double>(kFrameBound)));
}

}  // namespace tc
