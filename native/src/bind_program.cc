// Programs: takes the description apart (every number checked before it is used), runs on a thread.
#include <napi.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "async.h"
#include "program/isa.h"
#include "program/program.h"

namespace tc {
namespace {

constexpr double kMaxExtent = 9007199254740992.0;

size_t to_size(const Napi::Value& value, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= kMaxExtent) || number != std::floor(number)) throw InvalidProgram(std::string(what) + " must be a whole number");
  return static_cast<size_t>(number);
}
double to_double(const Napi::Value& value, const char* what) {
  if (!value.IsNumber()) throw InvalidProgram(std::string(what) + " must be a number");
  return value.As<Napi::Number>().DoubleValue();
}
bool to_bool(const Napi::Value& value, const char* what) {
  if (!value.IsBoolean()) throw InvalidProgram(std::string(what) + " must be a boolean");
  return value.As<Napi::Boolean>().Value();
}
Napi::Object to_object(const Napi::Value& value, const char* what) {
  if (!value.IsObject()) throw InvalidProgram(std::string(what) + " must be an object");
  return value.As<Napi::Object>();
}
Napi::Array to_array(const Napi::Value& value, const char* what) {
  if (!value.IsArray()) throw InvalidProgram(std::string(what) + " must be an array");
  return value.As<Napi::Array>();
}
std::vector<size_t> to_sizes(const Napi::Value& value, const char* what) {
  const Napi::Array array = to_array(value, what);
  std::vector<size_t> sizes;
  for (uint32_t i = 0; i < array.Length(); i++) sizes.push_back(to_size(array.Get(i), what));
  return sizes;
}
// A copy: tables belong to the program, whatever becomes of the arrays.
template <class T>
std::vector<T> to_vector(const Napi::Value& value, napi_typedarray_type type, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) throw InvalidProgram(std::string(what) + " must be a typed array of the right kind");
  const Napi::TypedArray array = value.As<Napi::TypedArray>();
  std::vector<T> copy(array.ElementLength());
  if (!copy.empty()) std::memcpy(copy.data(), static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), copy.size() * sizeof(T));
  return copy;
}

CastDescription read_cast(const Napi::Object& step) {
  const size_t mode = to_size(step.Get("nonFinite"), "nonFinite");
  if (mode > 2) throw InvalidProgram("nonFinite must be 0, 1 or 2");
  return {static_cast<NonFinite>(mode)};
}
GatherDescription read_gather(const Napi::Object& step) {
  GatherDescription gather;
  const Napi::Array index = to_array(step.Get("index"), "index");
  for (uint32_t k = 0; k < index.Length(); k++) {
    const Napi::Value axis = index.Get(k);
    gather.axes.push_back({axis.IsNull(), axis.IsNull() ? std::vector<int32_t>() : to_vector<int32_t>(axis, napi_int32_array, "index")});
  }
  gather.fill = to_vector<uint8_t>(step.Get("fill"), napi_uint8_array, "fill");
  return gather;
}
ResampleDescription read_resample(const Napi::Object& step) {
  ResampleDescription resample;
  const Napi::Array tables = to_array(step.Get("tables"), "tables");
  for (uint32_t k = 0; k < tables.Length(); k++) {
    const Napi::Object table = to_object(tables.Get(k), "table");
    resample.tables.push_back({to_size(table.Get("axis"), "axis"), to_size(table.Get("taps"), "taps"), to_vector<int32_t>(table.Get("index"), napi_int32_array, "index"),
                               to_vector<float>(table.Get("weight"), napi_float32_array, "weight")});
  }
  return resample;
}
AffineDescription read_affine(const Napi::Object& step) {
  return {to_size(step.Get("axis"), "axis"), to_vector<int64_t>(step.Get("matrix"), napi_bigint64_array, "matrix"), to_bool(step.Get("linear"), "linear"), to_bool(step.Get("clamp"), "clamp")};
}
ForegroundBoxDescription read_foreground_box(const Napi::Object& step) {
  return {to_sizes(step.Get("axes"), "axes"), to_vector<uint64_t>(step.Get("keys"), napi_biguint64_array, "keys")};
}
NormalizeDescription read_normalize(const Napi::Object& step) {
  NormalizeDescription normalize = {};
  normalize.groups = to_size(step.Get("groups"), "groups");
  normalize.members = to_size(step.Get("members"), "members");
  const Napi::Value statistics = step.Get("statistics");
  const std::string name = statistics.IsString() ? statistics.As<Napi::String>().Utf8Value() : "";
  if (name == "none") normalize.statistics = Statistics::kNone;
  else if (name == "moments") normalize.statistics = Statistics::kMoments;
  else if (name == "extrema") normalize.statistics = Statistics::kExtrema;
  else if (name == "quantiles") normalize.statistics = Statistics::kQuantiles;
  else throw InvalidProgram("statistics must be none, moments, extrema or quantiles");
  normalize.nonzero = to_bool(step.Get("nonzero"), "nonzero");
  normalize.eps = to_double(step.Get("eps"), "eps");
  normalize.to_low = to_double(step.Get("toLow"), "toLow");
  normalize.to_high = to_double(step.Get("toHigh"), "toHigh");
  normalize.quantile_low = to_double(step.Get("quantileLow"), "quantileLow");
  normalize.quantile_high = to_double(step.Get("quantileHigh"), "quantileHigh");
  normalize.clip = to_bool(step.Get("clip"), "clip");
  if (!step.Get("affine").IsNull()) normalize.affine = to_vector<float>(step.Get("affine"), napi_float32_array, "affine");
  return normalize;
}

StepDescription read_step(const Napi::Object& step) {
  StepDescription description = {to_size(step.Get("in"), "in"), to_size(step.Get("out"), "out"), CastDescription{}};
  const Napi::Value kernel = step.Get("kernel");
  const std::string name = kernel.IsString() ? kernel.As<Napi::String>().Utf8Value() : "";
  if (name == "cast") description.kernel = read_cast(step);
  else if (name == "gather") description.kernel = read_gather(step);
  else if (name == "permute") description.kernel = PermuteDescription{to_sizes(step.Get("order"), "order")};
  else if (name == "resample") description.kernel = read_resample(step);
  else if (name == "affine") description.kernel = read_affine(step);
  else if (name == "foreground-box") description.kernel = read_foreground_box(step);
  else if (name == "normalize") description.kernel = read_normalize(step);
  else throw InvalidProgram("unknown kernel " + name);
  return description;
}

ProgramDescription read_program(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "a program");
  ProgramDescription description;
  const Napi::Array values = to_array(object.Get("values"), "values");
  for (uint32_t i = 0; i < values.Length(); i++) {
    const Napi::Object entry = to_object(values.Get(i), "a value");
    const size_t dtype = to_size(entry.Get("dtype"), "dtype");
    if (dtype >= kDTypes) throw InvalidProgram("unknown dtype");
    description.values.push_back({static_cast<int>(dtype), to_sizes(entry.Get("shape"), "shape")});
  }
  description.inputs = to_sizes(object.Get("inputs"), "inputs");
  description.outputs = to_sizes(object.Get("outputs"), "outputs");
  const Napi::Array steps = to_array(object.Get("steps"), "steps");
  for (uint32_t i = 0; i < steps.Length(); i++) description.steps.push_back(read_step(to_object(steps.Get(i), "a step")));
  return description;
}

// The typed array that holds a dtype's elements (src/core/dtype.ts), and how many of its numbers make one element.
constexpr napi_typedarray_type kArrays[kDTypes] = {napi_uint8_array,    napi_int8_array,      napi_uint8_array,  napi_int16_array,  napi_uint16_array,
                                                   napi_int32_array,    napi_uint32_array,    napi_bigint64_array, napi_biguint64_array, napi_uint16_array,
                                                   napi_uint16_array,   napi_float32_array,   napi_float64_array, napi_float32_array, napi_float64_array};

class ProgramObject : public Napi::ObjectWrap<ProgramObject> {
 public:
  static void init(Napi::Env env, Napi::Object exports) {
    exports.Set("Program", DefineClass(env, "Program", {InstanceMethod("run", &ProgramObject::run), InstanceAccessor("scratchBytes", &ProgramObject::scratch_bytes, nullptr)}));
  }

  explicit ProgramObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProgramObject>(info) {
    try {
      program_ = std::make_shared<const Program>(read_program(info[0]));
    } catch (const InvalidProgram& error) {
      throw Napi::TypeError::New(info.Env(), std::string("Invalid program: ") + error.what());
    }
  }

 private:
  // What a run needs until it is done. The arrays are let go of on the JavaScript thread, because the task is.
  struct Run {
    std::shared_ptr<const Program> program;
    size_t count;
    unsigned threads;
    std::vector<Bytes> arrays;
    std::vector<const uint8_t*> inputs;
    std::vector<uint8_t*> outputs;
    std::vector<ProgramFault> faults;
  };

  Napi::Value scratch_bytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(program_->scratch_bytes())); }

  void take(Run& run, const Napi::Value& list, const std::vector<size_t>& ports, const char* what) {
    const Napi::Array arrays = to_array(list, what);
    if (arrays.Length() != ports.size()) throw InvalidProgram(std::string("expected ") + std::to_string(ports.size()) + " " + what);
    for (uint32_t k = 0; k < ports.size(); k++) {
      const auto& value = program_->values()[ports[k]];
      const std::string at = std::string(what) + "[" + std::to_string(k) + "]: ";
      const Napi::Value array = arrays.Get(k);
      if (!array.IsTypedArray() || array.As<Napi::TypedArray>().TypedArrayType() != kArrays[value.dtype]) throw InvalidProgram(at + "not the typed array of its dtype");
      run.arrays.emplace_back(array);
      const Bytes& bytes = run.arrays.back();
      if ((value.bytes > 0 && run.count > kMaxExtent / value.bytes) || bytes.size != run.count * value.bytes) {
        throw InvalidProgram(at + "expected " + std::to_string(run.count) + " items of " + std::to_string(value.bytes) + " bytes, found " + std::to_string(bytes.size) + " bytes");
      }
    }
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto run = std::make_shared<Run>();
    try {
      run->program = program_;
      run->count = to_size(info[0], "count");
      run->threads = static_cast<unsigned>(std::min<size_t>(std::max<size_t>(to_size(info[3], "threads"), 1), 256));
      take(*run, info[1], program_->inputs(), "inputs");
      take(*run, info[2], program_->outputs(), "outputs");
    } catch (const InvalidProgram& error) {
      throw Napi::TypeError::New(env, error.what());
    }
    for (size_t k = 0; k < run->arrays.size(); k++) {
      if (k < program_->inputs().size()) run->inputs.push_back(run->arrays[k].data);
      else run->outputs.push_back(run->arrays[k].data);
    }
    return Task::run(
        env, [run] { run->faults = run->program->run(run->count, run->inputs, run->outputs, run->threads); },
        [run](Napi::Env env) -> Napi::Value {
          Napi::Array faults = Napi::Array::New(env, run->faults.size());
          for (size_t i = 0; i < run->faults.size(); i++) {
            const ProgramFault& fault = run->faults[i];
            Napi::Object object = Napi::Object::New(env);
            object.Set("step", static_cast<double>(fault.step));
            object.Set("item", static_cast<double>(fault.item));
            object.Set("count", static_cast<double>(fault.count));
            object.Set("index", static_cast<double>(fault.index));
            faults.Set(static_cast<uint32_t>(i), object);
          }
          return faults;
        });
  }

  std::shared_ptr<const Program> program_;
};

Napi::Value isa_available(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const Kernels* table : kernel_tables()) names.Set(names.Length(), table->name);
  return names;
}
Napi::Value isa_selected(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), selected_kernels().name); }
void isa_force(const Napi::CallbackInfo& info) {
  if (info[0].IsUndefined()) {
    force_kernels(nullptr);
    return;
  }
  const std::string name = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (!force_kernels(&name)) throw Napi::TypeError::New(info.Env(), "Instruction set \"" + name + "\" is not available");
}

}  // namespace

void init_program(Napi::Env env, Napi::Object exports) {
  ProgramObject::init(env, exports);
  exports.Set("isaAvailable", Napi::Function::New(env, isa_available, "isaAvailable"));
  exports.Set("isaSelected", Napi::Function::New(env, isa_selected, "isaSelected"));
  exports.Set("isaForce", Napi::Function::New(env, isa_force, "isaForce"));
}

}  // namespace tc
