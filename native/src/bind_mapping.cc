// MappedFile: see src/native/addon.ts.
#include "bind_mapping.h"

#include "arguments.h"

namespace tc {

Napi::Value stat_object(Napi::Env env, const FileFacts& facts) {
  Napi::Object stat = Napi::Object::New(env);
  stat.Set("size", Napi::Number::New(env, static_cast<double>(facts.size)));
  stat.Set("dev", Napi::BigInt::New(env, facts.dev));
  stat.Set("ino", Napi::BigInt::New(env, facts.ino));
  stat.Set("mtimeNs", Napi::BigInt::New(env, facts.mtime_ns));
  stat.Set("ctimeNs", Napi::BigInt::New(env, facts.ctime_ns));
  return stat;
}

namespace {

// Marks objects that are MappedFiles, whichever environment made them: unwrapping anything else would read foreign memory.
constexpr napi_type_tag kTag = {0x6d61707065644669, 0x74656e736f726361};
// Node 20 has no longer buffers.
constexpr double kMaxViewBytes = 4294967296.0;

class MappedFile : public Napi::ObjectWrap<MappedFile> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("MappedFile", DefineClass(env, "MappedFile",
                                          {
                                              InstanceAccessor<&MappedFile::path>("path"),
                                              InstanceAccessor<&MappedFile::size>("size"),
                                              InstanceAccessor<&MappedFile::stat>("stat"),
                                              InstanceAccessor<&MappedFile::faulted>("faulted"),
                                              InstanceMethod<&MappedFile::restat>("restat"),
                                              InstanceMethod<&MappedFile::view>("view"),
                                              InstanceMethod<&MappedFile::populate>("populate"),
                                              InstanceMethod<&MappedFile::drop>("drop"),
                                              InstanceMethod<&MappedFile::advise>("advise"),
                                              InstanceMethod<&MappedFile::close>("close"),
                                          }));
  }

  explicit MappedFile(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MappedFile>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsString()) throw_type(env, "path must be a string");
    path_ = info[0].As<Napi::String>().Utf8Value();
    // The system would open the part before it.
    if (path_.find('\0') != std::string::npos) throw_type(env, "path must not contain a NUL character");
    mapping_ = with_codes(env, [&] { return Mapping::open(path_); });
    facts_ = mapping_->facts();
    info.This().As<Napi::Object>().TypeTag(&kTag);
  }

  std::shared_ptr<Mapping> mapping(Napi::Env env) const {
    if (mapping_ == nullptr) throw_coded(env, {"ERR_CLOSED", path_ + ": the mapping has been closed"});
    return mapping_;
  }

 private:
  Napi::Value path(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), path_); }
  Napi::Value size(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), static_cast<double>(facts_.size)); }
  Napi::Value stat(const Napi::CallbackInfo& info) { return stat_object(info.Env(), facts_); }
  // Still asked after close(), when views were read to the end.
  Napi::Value faulted(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), mapping_ != nullptr ? mapping_->faulted() : faulted_at_close_);
  }

  Napi::Value restat(const Napi::CallbackInfo& info) {
    const auto mapping = this->mapping(info.Env());
    return stat_object(info.Env(), with_codes(info.Env(), [&] { return mapping->ask_again(); }));
  }

  Napi::Value view(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto mapping = this->mapping(env);
    const Range range = range_argument(info, 0, mapping->size());
    if (static_cast<double>(range.length) > kMaxViewBytes) throw_range(env, "a view holds at most 4 GiB, not " + std::to_string(range.length) + " bytes");
    if (range.length == 0) return Napi::ArrayBuffer::New(env, 0);
    // V8 counts these bytes as memory that a collection would free, so large views made by the hundred make it collect often. Taking the count
    // back with napi_adjust_external_memory ends the process on Node 26 (the sum may not be negative for a moment): keep views instead.
    auto* kept = new std::shared_ptr<Mapping>(mapping);
    napi_value buffer;
    const napi_status status = napi_create_external_arraybuffer(env, mapping->data() + range.offset, range.length, release, kept, &buffer);
    if (status != napi_ok) {
      delete kept;
      throw_coded(env, {"ERR_MEMORY_ALLOCATION_FAILED", path_ + ": no buffer of " + std::to_string(range.length) + " bytes over mapped memory"});
    }
    return Napi::Value(env, buffer);
  }

  Napi::Value populate(const Napi::CallbackInfo& info) {
    const auto mapping = this->mapping(info.Env());
    const Range range = range_argument(info, 0, mapping->size());
    return Task::run(
        info.Env(), [mapping, range] { with_codes([&] { mapping->populate(range.offset, range.length); }); }, [](Napi::Env env) { return env.Undefined(); });
  }

  void drop(const Napi::CallbackInfo& info) {
    const auto mapping = this->mapping(info.Env());
    const Range range = range_argument(info, 0, mapping->size());
    mapping->drop(range.offset, range.length);
  }

  void advise(const Napi::CallbackInfo& info) {
    const auto mapping = this->mapping(info.Env());
    const Range range = range_argument(info, 0, mapping->size());
    const std::string name = info[2].IsString() ? info[2].As<Napi::String>().Utf8Value() : "";
    if (name == "normal") return mapping->advise(range.offset, range.length, Advice::normal);
    if (name == "sequential") return mapping->advise(range.offset, range.length, Advice::sequential);
    if (name == "random") return mapping->advise(range.offset, range.length, Advice::random);
    if (name == "willneed") return mapping->advise(range.offset, range.length, Advice::willneed);
    throw_type(info.Env(), "advice must be normal, sequential, random or willneed");
  }

  void close(const Napi::CallbackInfo&) {
    if (mapping_ == nullptr) return;
    faulted_at_close_ = mapping_->faulted();
    mapping_.reset();
  }

  static void release(napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Mapping>*>(hint); }

  std::string path_;
  FileFacts facts_;
  std::shared_ptr<Mapping> mapping_;
  bool faulted_at_close_ = false;
};

}  // namespace

std::shared_ptr<Mapping> mapping_of(Napi::Env env, const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag)) throw_type(env, "a MappedFile is expected");
  return MappedFile::Unwrap(value.As<Napi::Object>())->mapping(env);
}

void init_mapping(Napi::Env env, Napi::Object exports) { MappedFile::define(env, exports); }

}  // namespace tc
