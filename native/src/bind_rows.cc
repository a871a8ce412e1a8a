// Rows of datasets: see src/native/addon.ts.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "arguments.h"
#include "bind_mapping.h"
#include "crew.h"
#include "rows/row_table.h"
#include "rows/shuffle.h"
#include "rows/verified_blob.h"

namespace tc {
namespace {

constexpr napi_type_tag kBlobTag = {0x7665726966696564, 0x74656e736f726361};

class BlobObject : public Napi::ObjectWrap<BlobObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("VerifiedBlob", DefineClass(env, "VerifiedBlob",
                                            {
                                                InstanceMethod<&BlobObject::is_verified>("isVerified"),
                                                InstanceMethod<&BlobObject::verify>("verify"),
                                            }));
  }

  explicit BlobObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BlobObject>(info) {
    const Napi::Env env = info.Env();
    auto mapping = mapping_of(env, info[0]);
    const Bytes bytes = bytes_argument(info, 1, "checksums");
    const uint64_t chunk_bytes = integer_argument(info, 2, "chunkBytes", 1);
    const uint64_t chunks = mapping->size() / chunk_bytes + (mapping->size() % chunk_bytes != 0);
    if (bytes.size != chunks * 8) {
      throw_range(env, mapping->path() + ": " + std::to_string(chunks) + " chunks need " + std::to_string(chunks * 8) + " bytes of checksums, not " + std::to_string(bytes.size));
    }
    std::vector<uint64_t> checksums(chunks);
    if (chunks > 0) std::memcpy(checksums.data(), bytes.data, bytes.size);
    blob_ = std::make_shared<VerifiedBlob>(std::move(mapping), std::move(checksums), chunk_bytes);
    info.This().As<Napi::Object>().TypeTag(&kBlobTag);
  }

  static std::shared_ptr<VerifiedBlob> of(Napi::Env env, const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kBlobTag)) throw_type(env, "a VerifiedBlob is expected");
    return Unwrap(value.As<Napi::Object>())->blob_;
  }

 private:
  Napi::Value is_verified(const Napi::CallbackInfo& info) {
    const Range range = range_argument(info, 0, blob_->size());
    return Napi::Boolean::New(info.Env(), blob_->is_verified(range.offset, range.length));
  }

  Napi::Value verify(const Napi::CallbackInfo& info) {
    const Range range = range_argument(info, 0, blob_->size());
    auto damaged = std::make_shared<int64_t>(-1);
    return Task::run(
        info.Env(), [blob = blob_, range, damaged] { *damaged = blob->verify(range.offset, range.length); },
        [damaged](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(*damaged)); });
  }

  std::shared_ptr<VerifiedBlob> blob_;
};

class RowTableObject : public Napi::ObjectWrap<RowTableObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("RowTable", DefineClass(env, "RowTable", {InstanceMethod<&RowTableObject::gather>("gather")}));
  }

  explicit RowTableObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RowTableObject>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsArray()) throw_type(env, "blobs must be an array");
    const Napi::Array list = info[0].As<Napi::Array>();
    const Bytes offsets = typed_argument(info, 1, "fieldOffsets", napi_float64_array, "Float64Array");
    const uint64_t row_bytes = integer_argument(info, 2, "rowBytes");
    auto state = std::make_shared<State>();
    state->blob_of = typed_argument(info, 3, "blobOf", napi_uint32_array, "Uint32Array");
    state->row_of = typed_argument(info, 4, "rowOf", napi_uint32_array, "Uint32Array");
    const auto field_offsets = span_of<double>(offsets);
    if (field_offsets.size() != list.Length()) throw_range(env, "fieldOffsets must hold one offset per blob");
    if (state->blob_of.size != state->row_of.size) throw_range(env, "blobOf and rowOf must be equally long");
    std::vector<RowBlob> blobs;
    blobs.reserve(list.Length());
    for (uint32_t k = 0; k < list.Length(); k++) {
      const Napi::HandleScope scope(env);
      auto blob = BlobObject::of(env, list.Get(k));
      const double offset = field_offsets[k];
      if (!(offset >= 0 && offset <= static_cast<double>(blob->size())) || offset != std::floor(offset)) throw_range(env, "field offset " + std::to_string(k) + " leaves its blob");
      blobs.push_back({std::move(blob), static_cast<uint64_t>(offset)});
    }
    state->table = std::make_unique<RowTable>(std::move(blobs), row_bytes, span_of<uint32_t>(state->blob_of), span_of<uint32_t>(state->row_of));
    state_ = std::move(state);
  }

 private:
  struct State {
    Bytes blob_of;
    Bytes row_of;
    std::unique_ptr<RowTable> table;
    // Calls asked for and not yet done.
    std::atomic<int> pending{0};
  };
  struct Job {
    std::shared_ptr<State> state;
    Bytes indices;
    Bytes out;
    int64_t damaged = -1;
  };

  // Below this, starting a second thread takes longer than it saves; two are enough to reach what memory gives.
  static constexpr uint64_t kWorthAThread = 1 << 20;
  static constexpr unsigned kThreads = 2;

  Napi::Value gather(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto job = std::make_shared<Job>();
    job->state = state_;
    job->indices = typed_argument(info, 0, "indices", napi_float64_array, "Float64Array");
    job->out = bytes_argument(info, 1, "out");
    const uint64_t rows = job->indices.size / sizeof(double);
    const uint64_t row_bytes = state_->table->row_bytes();
    if (row_bytes > 0 && job->out.size / row_bytes < rows) {
      throw_range(env, std::to_string(rows) + " rows of " + std::to_string(row_bytes) + " bytes do not fit the " + std::to_string(job->out.size) + " bytes of out");
    }
    state_->pending++;
    return Crew::run(
        env,
        [job] {
          struct Done {
            State& state;
            ~Done() { state.pending--; }
          } done{*job->state};
          run(*job);
        },
        [job](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(job->damaged)); });
  }

  static void run(Job& job) {
    const RowTable& table = *job.state->table;
    const auto indices = span_of<double>(job.indices);
    std::vector<RowPlace> places(indices.size());
    const int64_t bad = table.locate(indices, places.data());
    if (bad >= 0) throw Error{"ERR_OUT_OF_RANGE", "indices[" + std::to_string(bad) + "] names no row, or one that leaves its blob"};
    std::mutex found;
    const uint64_t bytes = places.size() * table.row_bytes();
    // Calls that run at the same time are each other's second thread.
    const bool alone = job.state->pending.load() == 1;
    const unsigned threads = alone && bytes > kWorthAThread ? std::min(kThreads, std::thread::hardware_concurrency()) : 1;
    parallel_for(places.size(), threads, [&](size_t begin, size_t end) {
      const int64_t damaged = table.copy(std::span(places).subspan(begin, end - begin), job.out.data + begin * table.row_bytes());
      if (damaged < 0) return;
      const int64_t position = static_cast<int64_t>(begin) + damaged;
      std::lock_guard lock(found);
      if (job.damaged < 0 || position < job.damaged) job.damaged = position;
    });
  }

  std::shared_ptr<State> state_;
};

void bind_shuffle_indices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint64_t n = integer_argument(info, 0, "n", 1, static_cast<double>(kShuffleMax));
  if (!info[1].IsBigInt()) throw_type(env, "seed must be a bigint");
  bool lossless;
  const uint64_t seed = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
  const uint32_t epoch = static_cast<uint32_t>(integer_argument(info, 2, "epoch", 0, 4294967295.0));
  const uint64_t start = integer_argument(info, 3, "start", 0, static_cast<double>(n));
  const Bytes out = typed_argument(info, 4, "out", napi_float64_array, "Float64Array");
  const size_t count = out.size / sizeof(double);
  if (count > n - start) throw_range(env, "positions " + std::to_string(start) + " … +" + std::to_string(count) + " leave the " + std::to_string(n) + " there are");
  shuffle_indices(n, seed, epoch, start, reinterpret_cast<double*>(out.data), count);
}

}  // namespace

void init_rows(Napi::Env env, Napi::Object exports) {
  BlobObject::define(env, exports);
  RowTableObject::define(env, exports);
  exports.Set("shuffleIndices", Napi::Function::New<bind_shuffle_indices>(env, "shuffleIndices"));
}

}  // namespace tc
