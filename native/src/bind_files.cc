// Files: see src/native/addon.ts.
#include <memory>
#include <span>
#include <vector>

#include "arguments.h"
#include "bind_mapping.h"
#include "io/blob_writer.h"
#include "io/disk.h"
#include "io/file_facts.h"
#include "io/lmdb_guard.h"

namespace tc {
namespace {

int descriptor_argument(const Napi::CallbackInfo& info) { return static_cast<int>(integer_argument(info, 0, "fd", 0, 2147483647.0)); }

std::string path_argument(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw_type(info.Env(), "path must be a string");
  std::string path = info[0].As<Napi::String>().Utf8Value();
  if (path.find('\0') != std::string::npos) throw_type(info.Env(), "path must not contain a NUL character");
  return path;
}

Napi::Value bind_fallocate(const Napi::CallbackInfo& info) {
  const int fd = descriptor_argument(info);
  const uint64_t offset = integer_argument(info, 1, "offset");
  const uint64_t length = integer_argument(info, 2, "length", 1);
  return Napi::Number::New(info.Env(), allocate_ahead(fd, offset, length, info[3].ToBoolean()));
}

Napi::Value bind_allocated_bytes(const Napi::CallbackInfo& info) {
  const int fd = descriptor_argument(info);
  return Napi::Number::New(info.Env(), static_cast<double>(with_codes(info.Env(), [&] { return allocated_bytes(fd); })));
}

Napi::Value bind_file_system_type(const Napi::CallbackInfo& info) {
  const std::string path = path_argument(info);
  return Napi::Number::New(info.Env(), with_codes(info.Env(), [&] { return file_system_type(path); }));
}

Napi::Value bind_fsync_path(const Napi::CallbackInfo& info) {
  const std::string path = path_argument(info);
  return Task::run(info.Env(), [path] { with_codes([&] { fsync_path(path); }); }, [](Napi::Env env) { return env.Undefined(); });
}

Napi::Value bind_write_blob(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Job {
    std::vector<Bytes> owners;
    std::vector<std::span<const uint8_t>> segments;
    BlobSummary summary;
  };
  auto job = std::make_shared<Job>();
  const int fd = descriptor_argument(info);
  if (!info[1].IsArray()) throw_type(env, "segments must be an array");
  const Napi::Array list = info[1].As<Napi::Array>();
  for (uint32_t k = 0; k < list.Length(); k++) {
    const Napi::HandleScope scope(env);
    const Napi::Value segment = list.Get(k);
    require_bytes(env, segment, "each segment");
    job->owners.emplace_back(segment);
    job->segments.emplace_back(job->owners.back().data, job->owners.back().size);
  }
  const uint64_t chunk_bytes = integer_argument(info, 2, "chunkBytes", 1);
  return Task::run(
      env, [job, fd, chunk_bytes] { with_codes([&] { job->summary = write_blob(fd, job->segments, chunk_bytes); }); },
      [job](Napi::Env env) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("sha256", bytes_result(env, job->summary.sha256.data(), job->summary.sha256.size()));
        result.Set("checksums", bytes_result(env, job->summary.checksums.data(), job->summary.checksums.size()));
        result.Set("bytes", Napi::Number::New(env, static_cast<double>(job->summary.bytes)));
        return result;
      });
}

Napi::Value bind_file_start(const Napi::CallbackInfo& info) {
  auto start = std::make_shared<FileStart>();
  const std::string path = path_argument(info);
  const size_t length = integer_argument(info, 1, "length");
  return Task::run(
      info.Env(), [start, path, length] { with_codes([&] { *start = read_start(path, length); }); },
      [start](Napi::Env env) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("stat", stat_object(env, start->facts));
        result.Set("bytes", bytes_result(env, start->bytes.data(), start->bytes.size()));
        return result;
      });
}

Napi::Value bind_guard_lmdb(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), guard_lmdb()); }

}  // namespace

void init_files(Napi::Env env, Napi::Object exports) {
  exports.Set("fallocate", Napi::Function::New<bind_fallocate>(env, "fallocate"));
  exports.Set("allocatedBytes", Napi::Function::New<bind_allocated_bytes>(env, "allocatedBytes"));
  exports.Set("fileSystemType", Napi::Function::New<bind_file_system_type>(env, "fileSystemType"));
  exports.Set("writeBlob", Napi::Function::New<bind_write_blob>(env, "writeBlob"));
  exports.Set("guardLmdb", Napi::Function::New<bind_guard_lmdb>(env, "guardLmdb"));
  exports.Set("fileStart", Napi::Function::New<bind_file_start>(env, "fileStart"));
  exports.Set("fsyncPath", Napi::Function::New<bind_fsync_path>(env, "fsyncPath"));
}

}  // namespace tc
