// Compiles the native addon with the C++ compiler alone: `node native/build.mjs [--debug] [--sanitize]`.
//
// Node-API is a stable binary interface, so one build serves every Node from 20 on, and its headers come from npm (node-api-headers,
// node-addon-api): no node-gyp, no Python, nothing downloaded. Files are compiled in parallel, and only those whose text, headers or flags
// changed; the result appears by rename, so that two builds at once cannot disturb each other or a running process.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { basename, dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const require = createRequire(import.meta.url)
const debug = process.argv.includes('--debug')
const sanitize = process.argv.includes('--sanitize')
const out = join(here, 'build')
const objects = join(out, sanitize ? 'obj-sanitize' : debug ? 'obj-debug' : 'obj')
const target = join(out, 'tensorcache.node')
const compiler = process.env.CXX ?? 'c++'

const includes = [
  require('node-api-headers').include_dir,
  require('node-addon-api').include_dir.replaceAll('"', ''),
  join(here, 'src'),
]
// The reference implementation of LZ4 lies in the lmdb package, which compiles it, too. It becomes part of the addon, hidden.
const lz4 = lz4Folder()
const common = [
  '-std=c++20', '-fPIC', '-fvisibility=hidden', '-pthread', debug ? '-O1' : '-O3', '-g1', '-Wall', '-Wextra', '-Werror',
  // Exactness: every float operation rounds once, as written. No contraction to fma, no reassociation.
  '-ffp-contract=off', '-fno-fast-math', '-fno-math-errno', '-fno-trapping-math',
  // The last: an exception that nobody can be told of, because a worker thread is being stopped in the middle of a call, does not abort the process.
  '-DNAPI_VERSION=8', '-DNAPI_CPP_EXCEPTIONS', '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', ...includes.map((path) => `-isystem${path}`), `-I${join(here, 'src')}`,
  ...(lz4 === undefined ? [] : ['-DTC_LZ4', `-isystem${lz4}`]),
  ...(sanitize ? ['-fsanitize=address,undefined', '-fno-omit-frame-pointer'] : []),
]
// One file per instruction set in src/isa; which of them exist depends on the processor family built for.
const isaFlags = {
  x64: { baseline: [], avx2: ['-mavx2', '-mf16c', '-mbmi2'], avx512: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx2', '-mf16c', '-mbmi2', '-mprefer-vector-width=512'] },
  arm64: { baseline: [], neon: [] },
}[process.arch] ?? { baseline: [] }

const files = walk(join(here, 'src'))
const headers = files.filter((path) => ['.h', '.inc'].includes(extname(path))).sort()
const sources = files.filter((path) => extname(path) === '.cc').filter((path) => basename(dirname(path)) !== 'isa' || stem(path) in isaFlags).sort()
const headerHash = hash(headers.map((path) => readFileSync(path)))
const toolHash = hash([compiler, process.arch, await version()])

mkdirSync(objects, { recursive: true })
const jobs = sources.map((path) => {
  const flags = [...common, ...(basename(dirname(path)) === 'isa' ? isaFlags[stem(path)] : []), ...(usesShaNi(path) ? ['-msha', '-msse4.1', '-mssse3'] : []), ...(usesClmul(path) ? ['-mpclmul', '-msse4.1'] : [])]
  const key = hash([readFileSync(path), headerHash, toolHash, flags.join(' ')])
  return { path, flags, object: join(objects, `${relative(join(here, 'src'), path).replaceAll('/', '_')}-${key}.o`) }
})
for (const name of lz4 === undefined ? [] : ['lz4', 'lz4hc']) {
  const path = join(lz4, `${name}.c`)
  const flags = ['-x', 'c', '-std=c99', '-fPIC', '-fvisibility=hidden', debug ? '-O1' : '-O3', '-DLZ4LIB_VISIBILITY=', ...(sanitize ? ['-fsanitize=address,undefined'] : [])]
  jobs.push({ path, flags, object: join(objects, `${name}-${hash([readFileSync(path), readFileSync(join(lz4, 'lz4.c')), toolHash, flags.join(' ')])}.o`) })
}
const pending = [...jobs]
await Promise.all(Array.from({ length: availableParallelism() }, async () => {
  for (let job = pending.shift(); job !== undefined; job = pending.shift()) {
    if (existsSync(job.object)) continue
    const tmp = `${job.object}.${process.pid}`
    await run(compiler, [...job.flags, '-c', job.path, '-o', tmp])
    renameSync(tmp, job.object)
  }
}))
const tmp = `${target}.${process.pid}`
const undefinedSymbols = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-Wl,--exclude-libs,ALL', '-static-libstdc++', '-static-libgcc', '-ldl']
await run(compiler, ['-shared', '-pthread', ...(sanitize ? ['-fsanitize=address,undefined'] : undefinedSymbols), ...jobs.map((job) => job.object), '-o', tmp])
renameSync(tmp, target)
for (const name of readdirSync(objects)) {
  if (name.endsWith('.o') && !jobs.some((job) => basename(job.object) === name)) rmSync(join(objects, name), { force: true })
}

// A file named *.shani.cc or *.clmul.cc may use those instructions; its callers ask the processor first.
function usesShaNi(path) { return process.arch === 'x64' && path.endsWith('.shani.cc') }
function usesClmul(path) { return process.arch === 'x64' && path.endsWith('.clmul.cc') }
function lz4Folder() {
  const folder = join(require.resolve('lmdb'), '../../dependencies/lz4/lib')
  return ['lz4.c', 'lz4.h', 'lz4hc.c', 'lz4hc.h'].every((name) => existsSync(join(folder, name))) ? folder : undefined
}
function stem(path) { return basename(path, extname(path)) }
function walk(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}
function hash(parts) {
  const sha = createHash('sha256')
  for (const part of parts) sha.update(part).update('\0')
  return sha.digest('hex').slice(0, 16)
}
function version() {
  return new Promise((resolve, reject) => {
    let text = ''
    const child = spawn(compiler, ['--version'], { stdio: ['ignore', 'pipe', 'inherit'] })
    child.stdout.on('data', (data) => { text += data })
    child.on('error', () => reject(new Error(`No C++ compiler: "${compiler}" cannot be started. Install one (Debian: apt-get install g++; macOS: xcode-select --install) or name it in CXX.`)))
    child.on('close', () => resolve(text))
  })
}
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit' })
    child.on('error', reject)
    child.on('close', (status) => status === 0 ? resolve() : reject(new Error(`${command} failed with status ${status}: ${args.at(-1)}`)))
  })
}
