// Rows of datasets: see src/native/addon.ts.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "arguments.h"
#include "bind_mapping.h"
#include "crew.h"
#include "rows/ragged_table.h"
#include "rows/row_table.h"
#include "rows/noise.h"
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

// What a table of rows is made from, the first arguments of both kinds.
struct TableArguments {
  std::vector<std::shared_ptr<VerifiedBlob>> blobs;
  std::vector<uint64_t> field_offsets;
  uint64_t row_bytes;

  // blobs, fieldOffsets, rowBytes
  explicit TableArguments(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsArray()) throw_type(env, "blobs must be an array");
    const Napi::Array list = info[0].As<Napi::Array>();
    const Bytes bytes = typed_argument(info, 1, "fieldOffsets", napi_float64_array, "Float64Array");
    const auto offsets = span_of<double>(bytes);
    row_bytes = integer_argument(info, 2, "rowBytes");
    if (offsets.size() != list.Length()) throw_range(env, "fieldOffsets must hold one offset per blob");
    for (uint32_t k = 0; k < list.Length(); k++) {
      const Napi::HandleScope scope(env);
      auto blob = BlobObject::of(env, list.Get(k));
      if (!(offsets[k] >= 0 && offsets[k] <= static_cast<double>(blob->size())) || offsets[k] != std::floor(offsets[k])) throw_range(env, "field offset " + std::to_string(k) + " leaves its blob");
      blobs.push_back(std::move(blob));
      field_offsets.push_back(static_cast<uint64_t>(offsets[k]));
    }
  }
};

// Which blob and row each item is.
struct ItemArguments {
  Bytes blob_of;
  Bytes row_of;

  ItemArguments() = default;
  ItemArguments(const Napi::CallbackInfo& info, size_t index) {
    blob_of = typed_argument(info, index, "blobOf", napi_uint32_array, "Uint32Array");
    row_of = typed_argument(info, index + 1, "rowOf", napi_uint32_array, "Uint32Array");
    if (blob_of.size != row_of.size) throw_range(info.Env(), "blobOf and rowOf must be equally long");
  }
};

// Below this, starting a second thread takes longer than it saves; two are enough to reach what memory gives.
constexpr uint64_t kWorthAThread = 1 << 20;
constexpr unsigned kGatherThreads = 2;

// A copy of items on the crew's threads. `Table` locates and copies; `start` says where in `out` the place at a position begins.
template <typename Table, typename Place>
struct GatherJob {
  std::shared_ptr<const Table> table;
  std::shared_ptr<std::atomic<int>> pending;  // calls of this table asked for and not yet done
  Bytes indices;
  Bytes out;
  int64_t damaged = -1;

  static Napi::Value start(Napi::Env env, std::shared_ptr<GatherJob> job, uint64_t (*bytes_of)(const Table&, const Place&)) {
    ++*job->pending;
    return Crew::run(
        env, Crew::Kind::Copy,
        [job, bytes_of] {
          struct Done {
            std::atomic<int>& pending;
            ~Done() { --pending; }
          } done{*job->pending};
          job->run(bytes_of);
        },
        [job](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(job->damaged)); });
  }

  void run(uint64_t (*bytes_of)(const Table&, const Place&)) {
    const auto given = span_of<double>(indices);
    std::vector<Place> places(given.size());
    const int64_t bad = table->locate(given, places.data());
    if (bad >= 0) throw Error{"ERR_OUT_OF_RANGE", "indices[" + std::to_string(bad) + "] names no row, or one that leaves its blob"};
    std::vector<uint64_t> starts(places.size() + 1);
    for (size_t k = 0; k < places.size(); k++) {
      if (__builtin_add_overflow(starts[k], bytes_of(*table, places[k]), &starts[k + 1])) throw Error{"ERR_OUT_OF_RANGE", "the rows are too large"};
    }
    if (starts.back() > out.size) throw Error{"ERR_OUT_OF_RANGE", std::to_string(starts.back()) + " bytes of rows do not fit the " + std::to_string(out.size) + " bytes of out"};
    std::mutex found;
    // Calls that run at the same time are each other's second thread.
    const bool alone = pending->load() == 1;
    const unsigned threads = alone && starts.back() > kWorthAThread ? std::min(kGatherThreads, std::thread::hardware_concurrency()) : 1;
    parallel_for(places.size(), threads, [&](size_t begin, size_t end) {
      const int64_t position = table->copy(std::span<const Place>(places).subspan(begin, end - begin), out.data + starts[begin]);
      if (position < 0) return;
      const int64_t at = static_cast<int64_t>(begin) + position;
      std::lock_guard lock(found);
      if (damaged < 0 || at < damaged) damaged = at;
    });
  }
};

class RowTableObject : public Napi::ObjectWrap<RowTableObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("RowTable", DefineClass(env, "RowTable", {InstanceMethod<&RowTableObject::gather>("gather")}));
  }

  explicit RowTableObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RowTableObject>(info) {
    TableArguments given(info);
    auto state = std::make_shared<State>(State{ItemArguments(info, 3), {}});
    std::vector<RowBlob> blobs;
    for (size_t k = 0; k < given.blobs.size(); k++) blobs.push_back({std::move(given.blobs[k]), given.field_offsets[k]});
    state->table.emplace(std::move(blobs), given.row_bytes, span_of<uint32_t>(state->items.blob_of), span_of<uint32_t>(state->items.row_of), info[5].ToBoolean());
    table_ = std::shared_ptr<const RowTable>(state, &*state->table);
  }

 private:
  // The table looks into arrays that live as long as it does.
  struct State {
    ItemArguments items;
    std::optional<RowTable> table;
  };
  using Job = GatherJob<RowTable, RowPlace>;

  Napi::Value gather(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto job = std::make_shared<Job>(Job{table_, pending_, typed_argument(info, 0, "indices", napi_float64_array, "Float64Array"), bytes_argument(info, 1, "out")});
    const uint64_t rows = job->indices.size / sizeof(double);
    const uint64_t row_bytes = table_->row_bytes();
    if (row_bytes > 0 && job->out.size / row_bytes < rows) {
      throw_range(env, std::to_string(rows) + " rows of " + std::to_string(row_bytes) + " bytes do not fit the " + std::to_string(job->out.size) + " bytes of out");
    }
    return Job::start(env, std::move(job), [](const RowTable& table, const RowPlace&) { return table.row_bytes(); });
  }

  std::shared_ptr<const RowTable> table_;
  std::shared_ptr<std::atomic<int>> pending_ = std::make_shared<std::atomic<int>>(0);
};

class RaggedTableObject : public Napi::ObjectWrap<RaggedTableObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("RaggedTable", DefineClass(env, "RaggedTable", {InstanceMethod<&RaggedTableObject::offsets>("offsets"), InstanceMethod<&RaggedTableObject::gather>("gather")}));
  }

  explicit RaggedTableObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RaggedTableObject>(info) {
    const Napi::Env env = info.Env();
    TableArguments given(info);
    auto state = std::make_shared<State>(State{ItemArguments(info, 4), {}, {}});
    if (!info[3].IsArray() || info[3].As<Napi::Array>().Length() != given.blobs.size()) throw_type(env, "rows must be an array with an entry per blob");
    const Napi::Array list = info[3].As<Napi::Array>();
    std::vector<RaggedBlob> blobs;
    for (uint32_t k = 0; k < list.Length(); k++) {
      const Napi::Value rows = list.Get(k);
      RaggedBlob blob{std::move(given.blobs[k]), given.field_offsets[k], {}, 0};
      if (rows.IsNumber()) {
        const double count = rows.As<Napi::Number>().DoubleValue();
        if (!(count >= 0 && count <= kMaxSafeInteger) || count != std::floor(count)) throw_range(env, "rows must be whole numbers");
        blob.rows = static_cast<uint64_t>(count);
      } else {
        if (!rows.IsTypedArray() || rows.As<Napi::TypedArray>().TypedArrayType() != napi_bigint64_array) throw_type(env, "rows must be numbers or BigInt64Arrays");
        state->tables.emplace_back(rows);
        blob.offsets = span_of<int64_t>(state->tables.back());
        // An empty table would be taken for items of equal length.
        if (blob.offsets.empty()) throw_range(env, "a table of offsets has at least one");
      }
      blobs.push_back(std::move(blob));
    }
    state->table.emplace(std::move(blobs), given.row_bytes, span_of<uint32_t>(state->items.blob_of), span_of<uint32_t>(state->items.row_of), info[6].ToBoolean());
    table_ = std::shared_ptr<const RaggedTable>(state, &*state->table);
  }

 private:
  struct State {
    ItemArguments items;
    std::vector<Bytes> tables;
    std::optional<RaggedTable> table;
  };
  using Job = GatherJob<RaggedTable, RaggedPlace>;

  void offsets(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Bytes indices = typed_argument(info, 0, "indices", napi_float64_array, "Float64Array");
    const Bytes out = typed_argument(info, 1, "out", napi_float64_array, "Float64Array");
    const auto given = span_of<double>(indices);
    if (out.size != (given.size() + 1) * sizeof(double)) throw_range(env, "out must hold one more number than there are indices");
    std::vector<RaggedPlace> places(given.size());
    const int64_t bad = table_->locate(given, places.data());
    if (bad >= 0) throw_range(env, "indices[" + std::to_string(bad) + "] names no row, or one that leaves its blob");
    double* to = reinterpret_cast<double*>(out.data);
    uint64_t sum = 0;
    to[0] = 0;
    for (size_t k = 0; k < places.size(); k++) to[k + 1] = static_cast<double>(sum += places[k].rows);
  }

  Napi::Value gather(const Napi::CallbackInfo& info) {
    auto job = std::make_shared<Job>(Job{table_, pending_, typed_argument(info, 0, "indices", napi_float64_array, "Float64Array"), bytes_argument(info, 1, "out")});
    return Job::start(info.Env(), std::move(job), [](const RaggedTable& table, const RaggedPlace& place) { return place.rows * table.row_bytes(); });
  }

  std::shared_ptr<const RaggedTable> table_;
  std::shared_ptr<std::atomic<int>> pending_ = std::make_shared<std::atomic<int>>(0);
};

// Offsets that begin with 0, do not fall, and end at `size` at most.
std::span<const double> offsets_argument(const Napi::CallbackInfo& info, Bytes& bytes, size_t index, const char* name, size_t size) {
  bytes = typed_argument(info, index, name, napi_float64_array, "Float64Array");
  const auto offsets = span_of<double>(bytes);
  double last = 0;
  for (const double at : offsets) {
    if (!(at >= last && at <= static_cast<double>(size)) || at != std::floor(at)) throw_range(info.Env(), std::string(name) + " must be whole numbers that do not fall, up to " + std::to_string(size));
    last = at;
  }
  if (offsets.empty() || offsets[0] != 0) throw_range(info.Env(), std::string(name) + " must begin with 0");
  return offsets;
}

void number_nodes(const Napi::CallbackInfo& info) {
  Bytes bytes;
  const Bytes out = typed_argument(info, 1, "batch", napi_int32_array, "Int32Array");
  auto* batch = reinterpret_cast<int32_t*>(out.data);
  const auto nodes = offsets_argument(info, bytes, 0, "nodes", out.size / sizeof(int32_t));
  for (size_t graph = 0; graph + 1 < nodes.size(); graph++) std::fill(batch + static_cast<size_t>(nodes[graph]), batch + static_cast<size_t>(nodes[graph + 1]), static_cast<int32_t>(graph));
}

void number_edges(const Napi::CallbackInfo& info) {
  Bytes node_bytes, edge_bytes;
  const auto nodes = offsets_argument(info, node_bytes, 0, "nodes", INT32_MAX);
  const Bytes from = typed_argument(info, 2, "ends", napi_int32_array, "Int32Array");
  const Bytes out = typed_argument(info, 3, "out", napi_int32_array, "Int32Array");
  const auto edges = offsets_argument(info, edge_bytes, 1, "edges", std::min(from.size, out.size) / sizeof(int32_t));
  if (edges.size() != nodes.size()) throw_range(info.Env(), "nodes and edges must be equally long");
  const auto* ends = reinterpret_cast<const uint32_t*>(from.data);
  auto* index = reinterpret_cast<uint32_t*>(out.data);
  for (size_t graph = 0; graph + 1 < nodes.size(); graph++) {
    const auto before = static_cast<uint32_t>(nodes[graph]);
    const auto stop = static_cast<size_t>(edges[graph + 1]);
    for (auto edge = static_cast<size_t>(edges[graph]); edge < stop; edge++) index[edge] = ends[edge] + before;
  }
}

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

void bind_add_normal(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Bytes in = typed_argument(info, 0, "in", napi_float32_array, "Float32Array");
  const Bytes out = typed_argument(info, 1, "out", napi_float32_array, "Float32Array");
  const Bytes words = typed_argument(info, 2, "words", napi_uint32_array, "Uint32Array");
  const Bytes numbers = typed_argument(info, 3, "numbers", napi_float32_array, "Float32Array");
  if (in.size != out.size) throw_range(env, "in and out differ in length");
  if (words.size != 5 * sizeof(uint32_t)) throw_range(env, "words are the two of the key and three of the counter");
  if (numbers.size != 2 * sizeof(float)) throw_range(env, "numbers are scale and shift");
  const auto* key = reinterpret_cast<const uint32_t*>(words.data);
  const auto* of = reinterpret_cast<const float*>(numbers.data);
  add_normal(reinterpret_cast<const float*>(in.data), reinterpret_cast<float*>(out.data), out.size / sizeof(float), key, key + 2, of[0], of[1]);
}

}  // namespace

void init_rows(Napi::Env env, Napi::Object exports) {
  BlobObject::define(env, exports);
  RowTableObject::define(env, exports);
  RaggedTableObject::define(env, exports);
  exports.Set("numberNodes", Napi::Function::New<number_nodes>(env, "numberNodes"));
  exports.Set("numberEdges", Napi::Function::New<number_edges>(env, "numberEdges"));
  exports.Set("addNormal", Napi::Function::New<bind_add_normal>(env, "addNormal"));
  exports.Set("shuffleIndices", Napi::Function::New<bind_shuffle_indices>(env, "shuffleIndices"));
}

}  // namespace tc
