// Makes a clone ready to run, doing only what is needed: installs the packages when the lock file changed, compiles the addon and the
// TypeScript when a source changed. Uses Node alone.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

export function bootstrap() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) throw new Error(`tensorcache needs Node 20.19 or newer; this is ${process.version}`)
  step('packages', ['package.json', 'package-lock.json'], 'node_modules', () => installPackages('.'))
  step('addon', ['native/build.mjs', ...files('native/src')], 'native/build/tensorcache.node', () => {
    console.error('Compiling the native addon …')
    run(process.execPath, ['native/build.mjs'])
  })
  step('typescript', ['tsconfig.json', ...files('src')], 'dist/index.js', () => {
    console.error('Compiling TypeScript …')
    // Beside the old one and swapped, so that a process that is just starting finds a whole one.
    const fresh = join(root, 'build', `dist-${process.pid}`)
    const stale = `${fresh}-old`
    run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json', '--outDir', fresh])
    if (existsSync(join(root, 'dist'))) renameSync(join(root, 'dist'), stale)
    renameSync(fresh, join(root, 'dist'))
    rmSync(stale, { recursive: true, force: true })
  })
}

/** Of the package in this folder, as its lock file says. */
export function installPackages(folder) {
  console.error('Installing packages …')
  // Not `npm ci`: it demands lock entries for every platform's optional packages, and not every registry has them all.
  run(process.platform === 'win32' ? 'npm.cmd' : 'npm', ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error'])
}

/** Runs `make` unless it has run for exactly these inputs and its product is still there. */
export function step(name, inputs, product, make) {
  const hash = createHash('sha256').update(process.platform + process.arch)
  for (const path of inputs) hash.update(path).update('\0').update(readFileSync(join(root, path)))
  const stamp = join(root, 'native/build', `${name}.stamp`)
  const digest = hash.digest('hex')
  if (existsSync(join(root, product)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return
  make()
  mkdirSync(join(root, 'native/build'), { recursive: true })
  writeFileSync(stamp, digest)
}

function files(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length).replaceAll('\\', '/'))
    .sort()
}

/** Runs a program in the project's folder and stops when it fails. */
export function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  if (error !== undefined) throw error
  if (status !== 0) process.exit(status ?? 1)
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) bootstrap()
