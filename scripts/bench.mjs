// `npm run bench`: makes the clone ready, compiles the benchmarks and runs them with the arguments given; see docs/benchmarks.md.
import { fileURLToPath } from 'node:url'
import { bootstrap, run } from './bootstrap.mjs'

bootstrap()
run(process.execPath, [fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url)), '-p', 'bench/tsconfig.json'])
run(process.execPath, ['build/bench/run.js', ...process.argv.slice(2)])
