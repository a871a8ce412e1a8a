// Hashes: see src/native/addon.ts.
#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "arguments.h"
#include "bind_mapping.h"
#include "hash/crc32.h"
#include "hash/sha256.h"
#include "hash/xxh64.h"

namespace tc {
namespace {

using Digest = std::array<uint8_t, Sha256::kBytes>;

Napi::Value bind_sha256(const Napi::CallbackInfo& info) {
  struct Job {
    Bytes data;
    Digest digest;
  };
  auto job = std::make_shared<Job>();
  job->data = bytes_argument(info, 0, "data");
  return Task::run(
      info.Env(),
      [job] {
        Sha256 hash;
        hash.update(job->data.data, job->data.size);
        hash.finish(job->digest.data());
      },
      [job](Napi::Env env) { return bytes_result(env, job->digest.data(), job->digest.size()); });
}

// Byte offsets of rows in `size` bytes, from a Float64Array: they must not go back or beyond.
std::vector<uint64_t> offsets_argument(Napi::Env env, const Napi::Value& value, size_t rows, size_t size) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) throw_type(env, "segment offsets must be a Float64Array");
  const auto given = value.As<Napi::Float64Array>();
  if (given.ElementLength() < rows + 1) throw_range(env, "segment offsets must be one more than rows");
  std::vector<uint64_t> offsets(rows + 1);
  double before = 0;
  for (size_t row = 0; row <= rows; row++) {
    const double at = given[row];
    if (!(at >= before && at <= double(size)) || at != std::floor(at)) throw_range(env, "segment offsets must be integers that do not go back or beyond the data");
    offsets[row] = uint64_t(at);
    before = at;
  }
  return offsets;
}

Napi::Value bind_sha256_rows(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Segment {
    Bytes data;
    size_t stride;
    size_t length;
    // In bytes, one more than rows; empty for a stride.
    std::vector<uint64_t> offsets;
    const uint8_t* at(size_t row) const { return data.data + (offsets.empty() ? row * stride : offsets[row]); }
    size_t size(size_t row) const { return offsets.empty() ? length : offsets[row + 1] - offsets[row]; }
  };
  struct Job {
    std::vector<Segment> segments;
    std::vector<uint8_t> digests;
  };
  auto job = std::make_shared<Job>();
  const size_t rows = integer_argument(info, 0, "rows", 0, 4294967295.0);
  if (!info[1].IsArray()) throw_type(env, "segments must be an array");
  const Napi::Array list = info[1].As<Napi::Array>();
  for (uint32_t k = 0; k < list.Length(); k++) {
    const Napi::HandleScope scope(env);
    if (!list.Get(k).IsObject()) throw_type(env, "segments must be an array of objects");
    const Napi::Object each = list.Get(k).As<Napi::Object>();
    require_bytes(env, each.Get("data"), "segment data");
    Segment segment{Bytes(each.Get("data")), 0, 0, {}};
    if (each.Has("offsets")) {
      segment.offsets = offsets_argument(env, each.Get("offsets"), rows, segment.data.size);
      job->segments.push_back(std::move(segment));
      continue;
    }
    const double stride = each.Get("stride").IsNumber() ? each.Get("stride").As<Napi::Number>().DoubleValue() : -1;
    if (!(stride >= 0 && stride <= kMaxSafeInteger) || stride != std::floor(stride)) throw_range(env, "segment stride must be an integer from 0");
    segment.stride = static_cast<size_t>(stride);
    segment.length = stride == 0 ? segment.data.size : segment.stride;
    if (stride > 0 && segment.data.size / segment.stride < rows) {
      throw_range(env, "segment " + std::to_string(k) + " holds " + std::to_string(segment.data.size) + " bytes, fewer than " + std::to_string(rows) + " rows of " +
                           std::to_string(segment.stride));
    }
    job->segments.push_back(std::move(segment));
  }
  const unsigned threads = static_cast<unsigned>(integer_argument(info, 2, "threads", 1, 1024));
  job->digests.resize(rows * Sha256::kBytes);
  return Task::run(
      env,
      [job, rows, threads] {
        size_t row_bytes = 0;
        for (const Segment& segment : job->segments) row_bytes += segment.offsets.empty() ? segment.length : segment.data.size / std::max<size_t>(rows, 1);
        // Starting a thread costs about as much as hashing 64 KiB.
        const size_t worth = std::max<size_t>(1, rows * row_bytes >> 18);
        parallel_for(rows, static_cast<unsigned>(std::min<size_t>(threads, worth)), [&](size_t begin, size_t end) {
          size_t row = begin;
          // Two at a time where they are equally long in every part.
          const auto alike = [&](size_t first) {
            return first + 2 <= end && std::all_of(job->segments.begin(), job->segments.end(), [&](const Segment& segment) { return segment.size(first) == segment.size(first + 1); });
          };
          while (row < end) {
            uint8_t* digest = job->digests.data() + row * Sha256::kBytes;
            if (alike(row)) {
              Sha256Lanes<2> hash;
              for (const Segment& segment : job->segments) hash.update({segment.at(row), segment.at(row + 1)}, segment.size(row));
              hash.finish({digest, digest + Sha256::kBytes});
              row += 2;
            } else {
              Sha256 hash;
              for (const Segment& segment : job->segments) hash.update(segment.at(row), segment.size(row));
              hash.finish(digest);
              row++;
            }
          }
        });
      },
      [job](Napi::Env env) { return bytes_result(env, job->digests.data(), job->digests.size()); });
}

class Sha256Stream : public Napi::ObjectWrap<Sha256Stream> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("Sha256", DefineClass(env, "Sha256",
                                      {
                                          InstanceMethod<&Sha256Stream::update>("update"),
                                          InstanceMethod<&Sha256Stream::update_file>("updateFile"),
                                          InstanceMethod<&Sha256Stream::digest>("digest"),
                                      }));
  }
  explicit Sha256Stream(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Sha256Stream>(info) {}

 private:
  enum class Phase { idle, busy, failed, finished };
  struct State {
    Sha256 hash;
    std::atomic<Phase> phase{Phase::idle};
  };

  void require_idle(Napi::Env env) const {
    switch (state_->phase.load()) {
      case Phase::idle: return;
      case Phase::busy: throw_coded(env, {"ERR_BUSY", "Sha256: the update before has not settled; updates have an order"});
      case Phase::failed: throw_coded(env, {"ERR_FAILED", "Sha256: an update failed, so that the digest would be of something else"});
      case Phase::finished: throw_coded(env, {"ERR_FINISHED", "Sha256: the digest has been taken"});
    }
  }

  // Runs `feed` on a thread; one at a time, and a failure spoils the hash.
  static Napi::Value start(Napi::Env env, std::shared_ptr<State> state, std::function<void(Sha256&)> feed) {
    state->phase = Phase::busy;
    return Task::run(
        env,
        [state, feed = std::move(feed)] {
          try {
            with_codes([&] { feed(state->hash); });
          } catch (...) {
            state->phase = Phase::failed;
            throw;
          }
          state->phase = Phase::idle;
        },
        [](Napi::Env env) { return env.Undefined(); });
  }

  Napi::Value update(const Napi::CallbackInfo& info) {
    require_idle(info.Env());
    auto data = std::make_shared<Bytes>(bytes_argument(info, 0, "data"));
    return start(info.Env(), state_, [data](Sha256& hash) { hash.update(data->data, data->size); });
  }

  Napi::Value update_file(const Napi::CallbackInfo& info) {
    require_idle(info.Env());
    const auto mapping = mapping_of(info.Env(), info[0]);
    const Range range = range_argument(info, 1, mapping->size());
    return start(info.Env(), state_, [mapping, range](Sha256& hash) {
      // Small enough to stay in the second-level cache between the copy and the hash.
      std::vector<uint8_t> piece(std::min<uint64_t>(range.length, 256 << 10));
      for (uint64_t done = 0; done < range.length; done += piece.size()) {
        const size_t bytes = std::min<uint64_t>(piece.size(), range.length - done);
        mapping->read(range.offset + done, piece.data(), bytes);
        hash.update(piece.data(), bytes);
      }
    });
  }

  Napi::Value digest(const Napi::CallbackInfo& info) {
    require_idle(info.Env());
    Digest digest;
    state_->hash.finish(digest.data());
    state_->phase = Phase::finished;
    return bytes_result(info.Env(), digest.data(), digest.size());
  }

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

Napi::Value bind_xxh64_chunks(const Napi::CallbackInfo& info) {
  struct Job {
    Bytes data;
    std::vector<uint8_t> hashes;
  };
  auto job = std::make_shared<Job>();
  job->data = bytes_argument(info, 0, "data");
  const size_t chunk = integer_argument(info, 1, "chunkBytes", 1);
  job->hashes.resize((job->data.size / chunk + (job->data.size % chunk != 0)) * 8);
  return Task::run(
      info.Env(), [job, chunk] { xxh64_chunks(job->data.data, job->data.size, chunk, job->hashes.data()); },
      [job](Napi::Env env) { return bytes_result(env, job->hashes.data(), job->hashes.size()); });
}

Napi::Value bind_xxh64(const Napi::CallbackInfo& info) {
  const Bytes data = bytes_argument(info, 0, "data");
  return Napi::BigInt::New(info.Env(), xxh64(data.data, data.size));
}

Napi::Value bind_crc32(const Napi::CallbackInfo& info) {
  const Bytes data = bytes_argument(info, 0, "data");
  const uint32_t start = info[1].IsUndefined() ? 0 : static_cast<uint32_t>(integer_argument(info, 1, "start", 0, 4294967295.0));
  return Napi::Number::New(info.Env(), crc32(data.data, data.size, start));
}

}  // namespace

void init_hash(Napi::Env env, Napi::Object exports) {
  exports.Set("sha256", Napi::Function::New<bind_sha256>(env, "sha256"));
  exports.Set("sha256Rows", Napi::Function::New<bind_sha256_rows>(env, "sha256Rows"));
  Sha256Stream::define(env, exports);
  exports.Set("xxh64Chunks", Napi::Function::New<bind_xxh64_chunks>(env, "xxh64Chunks"));
  exports.Set("xxh64", Napi::Function::New<bind_xxh64>(env, "xxh64"));
  exports.Set("crc32", Napi::Function::New<bind_crc32>(env, "crc32"));
}

}  // namespace tc
