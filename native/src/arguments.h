// Checks of what JavaScript passes in, and errors on their way back. TypeScript has validated the meaning; what is checked here is
// what would otherwise read or write memory that is not ours.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <system_error>

#include "async.h"

namespace tc {

constexpr double kMaxSafeInteger = 9007199254740991.0;

[[noreturn]] inline void throw_coded(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.message);
  result.Set("code", Napi::String::New(env, error.code));
  throw result;
}

[[noreturn]] inline void throw_range(Napi::Env env, const std::string& message) {
  Napi::RangeError result = Napi::RangeError::New(env, message);
  result.Set("code", Napi::String::New(env, "ERR_OUT_OF_RANGE"));
  throw result;
}

[[noreturn]] inline void throw_type(Napi::Env env, const std::string& message) {
  throw Napi::TypeError::New(env, message);
}

// What `std::system_error` says in `what()`, without the text that system_error() appends again.
inline Error coded(const std::system_error& error) {
  std::string what = error.what();
  const std::string suffix = ": " + error.code().message();
  if (what.ends_with(suffix)) what.resize(what.size() - suffix.size());
  return system_error(error.code().value(), what);
}

// Plain C++ reports failed system calls as std::system_error; these two turn them into errors with a `code`, on a thread and here.
template <typename Body>
auto with_codes(Body&& body) {
  try {
    return body();
  } catch (const std::system_error& error) {
    throw coded(error);
  }
}
template <typename Body>
auto with_codes(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const std::system_error& error) {
    throw_coded(env, coded(error));
  }
}

// An integer from `low` to `high`, exact in a double.
inline uint64_t integer_argument(const Napi::CallbackInfo& info, size_t index, const char* name, double low = 0, double high = kMaxSafeInteger) {
  if (!info[index].IsNumber()) throw_type(info.Env(), std::string(name) + " must be a number");
  const double value = info[index].As<Napi::Number>().DoubleValue();
  if (!(value >= low && value <= high) || value != std::floor(value)) {
    throw_range(info.Env(), std::string(name) + " must be an integer from " + std::to_string(static_cast<uint64_t>(low)) + " to " +
                                std::to_string(static_cast<uint64_t>(high)) + ", not " + info[index].ToString().Utf8Value());
  }
  return static_cast<uint64_t>(value);
}

struct Range {
  uint64_t offset;
  uint64_t length;
};

// (offset, length) at arguments `index` and `index + 1`, inside 0 … size.
inline Range range_argument(const Napi::CallbackInfo& info, size_t index, uint64_t size) {
  const Range range{integer_argument(info, index, "offset"), integer_argument(info, index + 1, "length")};
  if (range.offset > size || range.length > size - range.offset) {
    throw_range(info.Env(), "the range " + std::to_string(range.offset) + " … +" + std::to_string(range.length) + " leaves the " +
                                std::to_string(size) + " bytes there are");
  }
  return range;
}

inline void require_bytes(Napi::Env env, const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw_type(env, std::string(name) + " must be a Uint8Array");
  }
}
inline Bytes bytes_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  require_bytes(info.Env(), info[index], name);
  return Bytes(info[index]);
}

inline Bytes typed_argument(const Napi::CallbackInfo& info, size_t index, const char* name, napi_typedarray_type type, const char* type_name) {
  if (!info[index].IsTypedArray() || info[index].As<Napi::TypedArray>().TypedArrayType() != type) throw_type(info.Env(), std::string(name) + " must be a " + type_name);
  return Bytes(info[index]);
}

template <typename T>
std::span<const T> span_of(const Bytes& bytes) {
  return {reinterpret_cast<const T*>(bytes.data), bytes.size / sizeof(T)};
}

inline Napi::Value bytes_result(Napi::Env env, const void* data, size_t size) {
  Napi::Uint8Array result = Napi::Uint8Array::New(env, size);
  if (size > 0) std::memcpy(result.Data(), data, size);
  return result;
}

}  // namespace tc
