// `npm start`: makes the clone ready, compiles the examples and runs them.
import { fileURLToPath } from 'node:url'
import { bootstrap, run } from './bootstrap.mjs'

bootstrap()
run(process.execPath, [fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url)), '-p', 'tsconfig.examples.json'])
run(process.execPath, ['build/examples/run.js'])
