// pooledBuffer, returnBuffer, keepScratch, lendMemory, borrowMemory, captureStderr, releaseStderr, exitNow: see src/native/addon.ts.
#include <napi.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "arguments.h"
#include "memory/pool.h"
#include "memory/scratch.h"

namespace tc {
namespace {

template <void (*Give)(void*, size_t)>
void finalize(napi_env, void* data, void* hint) {
  Give(data, reinterpret_cast<size_t>(hint));
}

Napi::Value pooled_buffer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const size_t bytes = integer_argument(info, 0, "bytes");
  const bool pooled = info[1].IsUndefined() || info[1].ToBoolean();
  if (bytes == 0) return Napi::ArrayBuffer::New(env, 0);
  // Sizes that are nearly alike share what is given back.
  const size_t taken = pooled ? pool_size(bytes) : bytes;
  const auto give = pooled ? pool_give : pages_give;
  void* memory = pooled ? pool_take(taken) : pages_take(taken);
  if (memory == nullptr) throw_coded(env, {"ERR_MEMORY_ALLOCATION_FAILED", "no memory for " + std::to_string(bytes) + " bytes"});
  const napi_finalize give_back = pooled ? finalize<pool_give> : finalize<pages_give>;
  napi_value buffer;
  const napi_status status = napi_create_external_arraybuffer(env, memory, bytes, give_back, reinterpret_cast<void*>(taken), &buffer);
  if (status != napi_ok) {
    give(memory, taken);
    throw_coded(env, {"ERR_MEMORY_ALLOCATION_FAILED", "no buffer of " + std::to_string(bytes) + " bytes"});
  }
  return Napi::Value(env, buffer);
}

void keep_scratch(const Napi::CallbackInfo& info) { scratch_keep(integer_argument(info, 0, "bytes")); }

// Takes the memory away from a buffer, whose views are empty from then on. Its finalizer gives it back a turn of the event loop later.
void return_buffer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArrayBuffer()) throw_type(env, "buffer must be an ArrayBuffer");
  if (napi_detach_arraybuffer(env, info[0]) != napi_ok) throw_type(env, "buffer cannot be detached");
}

// The address of an array's bytes, for another thread of this process.
Napi::Value lend_memory(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytes_argument(info, 0, "bytes");
  return Napi::BigInt::New(info.Env(), uint64_t(reinterpret_cast<uintptr_t>(bytes.data)));
}

Napi::Value borrow_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsBigInt()) throw_type(env, "address must be a bigint");
  bool lossless = false;
  const uint64_t address = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
  const size_t bytes = integer_argument(info, 1, "bytes");
  if (!lossless || (address == 0 && bytes > 0)) throw_range(env, "address is not one that was lent");
  if (bytes == 0) return Napi::ArrayBuffer::New(env, 0);
  napi_value buffer;
  // The owner keeps the memory; this buffer is a view of it and frees nothing.
  const napi_status status = napi_create_external_arraybuffer(env, reinterpret_cast<void*>(uintptr_t(address)), bytes, nullptr, nullptr, &buffer);
  if (status != napi_ok) throw_coded(env, {"ERR_MEMORY_ALLOCATION_FAILED", "no buffer over " + std::to_string(bytes) + " bytes"});
  return Napi::Value(env, buffer);
}

// Ends the process without tearing anything down.
void exit_now(const Napi::CallbackInfo& info) { _exit(int(integer_argument(info, 0, "code", 0, 255))); }

// Standard error while somebody else's library writes to it: one capture at a time in the process.
std::mutex stderr_mutex;
int saved_stderr = -1;
int captured_stderr = -1;

int scratch_file() {
#ifdef __linux__
  return memfd_create("tensorcache-stderr", MFD_CLOEXEC);
#else
  FILE* file = std::tmpfile();
  if (file == nullptr) return -1;
  const int fd = dup(fileno(file));
  std::fclose(file);
  return fd;
#endif
}

Napi::Value capture_stderr(const Napi::CallbackInfo& info) {
  const std::lock_guard lock(stderr_mutex);
  if (saved_stderr >= 0) return Napi::Boolean::New(info.Env(), false);
  std::fflush(stderr);
  captured_stderr = scratch_file();
  if (captured_stderr < 0) return Napi::Boolean::New(info.Env(), false);
  saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (saved_stderr < 0 || dup2(captured_stderr, STDERR_FILENO) < 0) {
    if (saved_stderr >= 0) close(saved_stderr);
    close(captured_stderr);
    saved_stderr = captured_stderr = -1;
    return Napi::Boolean::New(info.Env(), false);
  }
  return Napi::Boolean::New(info.Env(), true);
}

Napi::Value release_stderr(const Napi::CallbackInfo& info) {
  const std::lock_guard lock(stderr_mutex);
  if (saved_stderr < 0) return Napi::String::New(info.Env(), "");
  std::fflush(stderr);
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
  std::string text;
  char piece[4096];
  lseek(captured_stderr, 0, SEEK_SET);
  for (ssize_t n; (n = read(captured_stderr, piece, sizeof piece)) > 0;) text.append(piece, size_t(n));
  close(captured_stderr);
  saved_stderr = captured_stderr = -1;
  return Napi::String::New(info.Env(), text);
}

}  // namespace

void init_memory(Napi::Env env, Napi::Object exports) {
  exports.Set("exitNow", Napi::Function::New(env, exit_now, "exitNow"));
  exports.Set("captureStderr", Napi::Function::New(env, capture_stderr, "captureStderr"));
  exports.Set("releaseStderr", Napi::Function::New(env, release_stderr, "releaseStderr"));
  exports.Set("lendMemory", Napi::Function::New(env, lend_memory, "lendMemory"));
  exports.Set("borrowMemory", Napi::Function::New(env, borrow_memory, "borrowMemory"));
  exports.Set("keepScratch", Napi::Function::New(env, keep_scratch, "keepScratch"));
  exports.Set("returnBuffer", Napi::Function::New(env, return_buffer, "returnBuffer"));
  exports.Set("pooledBuffer", Napi::Function::New(env, pooled_buffer, "pooledBuffer"));
}

}  // namespace tc
