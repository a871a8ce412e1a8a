#include <napi.h>

namespace tc {
void init_program(Napi::Env, Napi::Object) {}
}  // namespace tc
