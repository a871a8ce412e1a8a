// Registers what each binding file offers. One addon object per environment (main thread, each worker); no state is shared between them
// but the list of live mappings that the SIGBUS handler needs.
#include <napi.h>

namespace tc {
void init_mapping(Napi::Env env, Napi::Object exports);
void init_files(Napi::Env env, Napi::Object exports);
void init_hash(Napi::Env env, Napi::Object exports);
void init_arrays(Napi::Env env, Napi::Object exports);
void init_rows(Napi::Env env, Napi::Object exports);
void init_memory(Napi::Env env, Napi::Object exports);
void init_program(Napi::Env env, Napi::Object exports);
void init_crystal(Napi::Env env, Napi::Object exports);
void init_neighbors(Napi::Env env, Napi::Object exports);
void init_frames(Napi::Env env, Napi::Object exports);
void init_points(Napi::Env env, Napi::Object exports);
}  // namespace tc

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  tc::init_mapping(env, exports);
  tc::init_files(env, exports);
  tc::init_hash(env, exports);
  tc::init_arrays(env, exports);
  tc::init_rows(env, exports);
  tc::init_memory(env, exports);
  tc::init_program(env, exports);
  tc::init_crystal(env, exports);
  tc::init_neighbors(env, exports);
  tc::init_frames(env, exports);
  tc::init_points(env, exports);
  return exports;
}

NODE_API_MODULE(tensorcache, init)
