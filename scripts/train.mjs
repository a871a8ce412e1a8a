// `npm run train -- crystals --resume`: makes the clone ready, compiles the examples and trains one of them with the arguments given.
import { fileURLToPath } from 'node:url'
import { bootstrap, run } from './bootstrap.mjs'

bootstrap()
run(process.execPath, [fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url)), '-p', 'tsconfig.examples.json'])
run(process.execPath, ['build/examples/training/main.js', ...process.argv.slice(2)])
