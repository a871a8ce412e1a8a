// niggli, latticeParameters, crystalGraph: see src/native/addon.ts.
#include <napi.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "arguments.h"
#include "crystal/batch.h"

namespace tc {
namespace {

using namespace crystal;

// A typed array of one kind, kept while a thread works on it.
template <typename T>
std::span<T> array_of(Bytes& bytes, const Napi::Value& value, napi_typedarray_type type, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) throw_type(value.Env(), std::string(name) + " is not the typed array it should be");
  bytes = Bytes(value);
  return {reinterpret_cast<T*>(bytes.data), bytes.size / sizeof(T)};
}

// { offsets, frac, lattices, numbers?, oxidation? }, checked so that no structure reaches beyond the arrays.
struct StructuresArgument {
  Bytes offsets, frac, lattices, numbers, oxidation;
  Structures structures;

  explicit StructuresArgument(const Napi::Value& value) {
    const Napi::Env env = value.Env();
    if (!value.IsObject()) throw_type(env, "structures must be an object");
    const Napi::Object object = value.As<Napi::Object>();
    structures.offsets = array_of<double>(offsets, object.Get("offsets"), napi_float64_array, "offsets");
    structures.frac = array_of<double>(frac, object.Get("frac"), napi_float64_array, "frac");
    structures.lattices = array_of<double>(lattices, object.Get("lattices"), napi_float64_array, "lattices");
    if (!object.Get("numbers").IsUndefined()) structures.numbers = array_of<int32_t>(numbers, object.Get("numbers"), napi_int32_array, "numbers");
    if (!object.Get("oxidation").IsUndefined()) structures.oxidation = array_of<double>(oxidation, object.Get("oxidation"), napi_float64_array, "oxidation");
    if (structures.offsets.empty() || structures.offsets[0] != 0) throw_range(env, "offsets must begin with 0");
    for (size_t k = 1; k < structures.offsets.size(); k++) {
      const double at = structures.offsets[k];
      if (!(at >= structures.offsets[k - 1] && at <= INT32_MAX) || at != std::floor(at)) throw_range(env, "offsets must be whole numbers that do not fall, up to 2^31 - 1");
    }
    const auto atoms = static_cast<size_t>(structures.offsets.back());
    if (structures.frac.size() != 3 * atoms) throw_range(env, "frac must hold three numbers for each atom");
    if (structures.lattices.size() != 9 * structures.count()) throw_range(env, "lattices must hold nine numbers for each structure");
    if (!structures.numbers.empty() && structures.numbers.size() != atoms) throw_range(env, "numbers must hold one number for each atom");
    if (!structures.oxidation.empty() && structures.oxidation.size() != atoms) throw_range(env, "oxidation must hold one number for each atom");
  }
};

unsigned threads_argument(const Napi::CallbackInfo& info, size_t index) { return static_cast<unsigned>(integer_argument(info, index, "threads", 1, 256)); }

Napi::Value faults_value(Napi::Env env, const std::vector<ItemFault>& faults) {
  Napi::Array list = Napi::Array::New(env, faults.size());
  for (uint32_t k = 0; k < faults.size(); k++) {
    Napi::Object fault = Napi::Object::New(env);
    fault.Set("item", static_cast<double>(faults[k].item));
    fault.Set("message", faults[k].message);
    list.Set(k, fault);
  }
  return list;
}

Napi::Value niggli_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Work {
    StructuresArgument given;
    Bytes lattices, frac;
    unsigned threads;
    std::vector<ItemFault> faults;
  };
  auto work = std::make_shared<Work>(Work{StructuresArgument(info[0]), {}, {}, threads_argument(info, 2), {}});
  if (!info[1].IsObject()) throw_type(env, "out must be an object");
  const Napi::Object out = info[1].As<Napi::Object>();
  const auto lattices = array_of<double>(work->lattices, out.Get("lattices"), napi_float64_array, "out.lattices");
  const auto frac = array_of<double>(work->frac, out.Get("frac"), napi_float64_array, "out.frac");
  if (lattices.size() != work->given.structures.lattices.size() || frac.size() != work->given.structures.frac.size()) throw_range(env, "out must have the sizes of what is given");
  return Task::run(env, [work, lattices, frac] { work->faults = niggli_batch(work->given.structures, lattices, frac, work->threads); },
                   [work](Napi::Env env) { return faults_value(env, work->faults); });
}

Napi::Value lattice_parameters_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Work {
    Bytes lattices, lengths, angles, atoms, scaled;
    std::vector<ItemFault> faults;
  };
  auto work = std::make_shared<Work>();
  const auto lattices = array_of<const double>(work->lattices, info[0], napi_float64_array, "lattices");
  if (lattices.size() % 9 != 0) throw_range(env, "lattices must hold nine numbers for each structure");
  if (!info[1].IsObject()) throw_type(env, "out must be an object");
  const Napi::Object out = info[1].As<Napi::Object>();
  const size_t numbers = lattices.size() / 3;
  ParametersOut written;
  written.lengths = array_of<double>(work->lengths, out.Get("lengths"), napi_float64_array, "out.lengths");
  written.angles = array_of<double>(work->angles, out.Get("angles"), napi_float64_array, "out.angles");
  if (written.lengths.size() != numbers || written.angles.size() != numbers) throw_range(env, "out must hold three numbers for each structure");
  std::span<const int32_t> atoms;
  if (!info[2].IsUndefined()) {
    atoms = array_of<const int32_t>(work->atoms, info[2], napi_int32_array, "atoms");
    written.scaled = array_of<double>(work->scaled, out.Get("scaled"), napi_float64_array, "out.scaled");
    if (atoms.size() * 3 != numbers || written.scaled.size() != numbers) throw_range(env, "atoms must hold a number, and out.scaled three, for each structure");
  }
  return Task::run(env, [work, lattices, atoms, written] { work->faults = parameters_batch(lattices, atoms, written); },
                   [work](Napi::Env env) { return faults_value(env, work->faults); });
}

double number_of(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (!value.IsNumber()) throw_type(options.Env(), std::string(name) + " must be a number");
  return value.As<Napi::Number>().DoubleValue();
}
uint32_t count_of(const Napi::Object& options, const char* name) {
  const double value = number_of(options, name);
  if (!(value >= 0 && value <= UINT32_MAX) || value != std::floor(value)) throw_range(options.Env(), std::string(name) + " must be a whole number below 2^32");
  return static_cast<uint32_t>(value);
}
bool flag_of(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (!value.IsBoolean()) throw_type(options.Env(), std::string(name) + " must be a boolean");
  return value.As<Napi::Boolean>().Value();
}
std::string text_of(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (!value.IsString()) throw_type(options.Env(), std::string(name) + " must be text");
  return value.As<Napi::String>().Utf8Value();
}

std::variant<NeighborOptions, CrystalNNOptions> method_argument(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsObject()) throw_type(env, "options must be an object");
  const Napi::Object options = value.As<Napi::Object>();
  const std::string method = text_of(options, "method");
  NeighborOptions neighbors;
  if (method == "radius") {
    neighbors.cutoff = number_of(options, "cutoff");
    neighbors.max_neighbors = count_of(options, "maxNeighbors");
    neighbors.self_loops = flag_of(options, "selfLoops");
    return neighbors;
  }
  if (method == "knn") {
    neighbors.nearest = count_of(options, "nearest");
    neighbors.ties = text_of(options, "ties") == "keep" ? Ties::Keep : Ties::Cut;
    if (neighbors.nearest == 0) throw_range(env, "nearest must be at least 1");
    return neighbors;
  }
  if (method != "crystalnn") throw_type(env, "method must be radius, knn or crystalnn");
  CrystalNNOptions crystalnn;
  crystalnn.weighted_cn = flag_of(options, "weightedCn");
  crystalnn.cation_anion = flag_of(options, "cationAnion");
  crystalnn.has_distance_cutoffs = flag_of(options, "hasDistanceCutoffs");
  crystalnn.cutoff_low = number_of(options, "cutoffLow");
  crystalnn.cutoff_high = number_of(options, "cutoffHigh");
  crystalnn.x_diff_weight = number_of(options, "xDiffWeight");
  crystalnn.porous_adjustment = flag_of(options, "porousAdjustment");
  crystalnn.search_cutoff = number_of(options, "searchCutoff");
  return crystalnn;
}

// The column's memory as a typed array, without a copy.
template <typename Array, typename T>
Napi::Value column_value(Napi::Env env, Column<T>& column, size_t count) {
  if (count == 0) return Array::New(env, 0);
  const auto [memory, bytes] = column.release();
  napi_value buffer;
  const napi_status status = napi_create_external_arraybuffer(
      env, memory, count * sizeof(T), [](napi_env, void* data, void* hint) { pool_give(data, reinterpret_cast<size_t>(hint)); }, reinterpret_cast<void*>(bytes), &buffer);
  if (status != napi_ok) {
    pool_give(memory, bytes);
    throw_coded(env, {"ERR_MEMORY_ALLOCATION_FAILED", "no buffer of " + std::to_string(count * sizeof(T)) + " bytes"});
  }
  return Array::New(env, count, Napi::ArrayBuffer(env, buffer), 0);
}

Napi::Value crystal_graph_async(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Work {
    StructuresArgument given;
    std::variant<NeighborOptions, CrystalNNOptions> method;
    unsigned threads;
    Graphs graphs;
  };
  auto work = std::make_shared<Work>(Work{StructuresArgument(info[0]), method_argument(info[1]), threads_argument(info, 2), {}});
  if (std::holds_alternative<CrystalNNOptions>(work->method) && work->given.structures.numbers.size() * 3 != work->given.structures.frac.size()) throw_range(env, "crystalnn needs numbers");
  return Task::run(
      env,
      [work] {
        try {
          work->graphs = graph_batch(work->given.structures, work->method, work->threads);
        } catch (const std::invalid_argument& error) {
          throw Error{"ERR_INVALID_ARG_VALUE", error.what()};
        }
      },
      [work](Napi::Env env) -> Napi::Value {
        Graphs& graphs = work->graphs;
        Edges& edges = graphs.edges;
        Napi::Object result = Napi::Object::New(env);
        Napi::Float64Array offsets = Napi::Float64Array::New(env, graphs.offsets.size());
        std::memcpy(offsets.Data(), graphs.offsets.data(), graphs.offsets.size() * sizeof(double));
        Napi::Int32Array cut = Napi::Int32Array::New(env, graphs.cut.size());
        if (!graphs.cut.empty()) std::memcpy(cut.Data(), graphs.cut.data(), graphs.cut.size() * sizeof(int32_t));
        result.Set("offsets", offsets);
        result.Set("cut", cut);
        result.Set("source", column_value<Napi::Int32Array>(env, edges.source, edges.size));
        result.Set("target", column_value<Napi::Int32Array>(env, edges.target, edges.size));
        result.Set("image", column_value<Napi::Int16Array>(env, edges.image, 3 * edges.size));
        result.Set("distance", column_value<Napi::Float32Array>(env, edges.distance, edges.size));
        result.Set("vector", column_value<Napi::Float32Array>(env, edges.vector, 3 * edges.size));
        if (edges.weighted()) result.Set("weight", column_value<Napi::Float32Array>(env, edges.weight, edges.size));
        result.Set("faults", faults_value(env, graphs.faults));
        return result;
      });
}

}  // namespace

void init_crystal(Napi::Env env, Napi::Object exports) {
  exports.Set("niggli", Napi::Function::New(env, niggli_async, "niggli"));
  exports.Set("latticeParameters", Napi::Function::New(env, lattice_parameters_async, "latticeParameters"));
  exports.Set("crystalGraph", Napi::Function::New(env, crystal_graph_async, "crystalGraph"));
}

}  // namespace tc
