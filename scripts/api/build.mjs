// `npm run docs`: the API reference from the doc comments, as HTML in build/api/. Fails where something public is not documented, where a link leads nowhere, and where a type is spoken of that is not public.
// TypeScript 7 cannot be asked by other programs, so typedoc has an older one, in this folder, which nothing else needs: it is installed when this is run first.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bootstrap, installPackages, step } from '../bootstrap.mjs'

// With a slash at the end.
const root = fileURLToPath(new URL('../../', import.meta.url))
const { exports } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

bootstrap()
step('typedoc', ['scripts/api/package.json', 'scripts/api/package-lock.json'], 'scripts/api/node_modules', () => installPackages('scripts/api'))
const { Application, ReflectionKind } = await import('typedoc')

const app = await Application.bootstrap({
  // Every subpath that is code: `dist/index.js` is made of `src/index.ts`.
  entryPoints: Object.values(exports).filter((target) => typeof target === 'object').map(({ default: file }) => `${root}${file.replace('./dist/', 'src/').replace(/\.js$/, '.ts')}`),
  tsconfig: `${root}tsconfig.json`,
  out: `${root}build/api`,
  name: 'tensorcache',
  readme: 'none',
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  // What is public of these is only that they exist: an op's definition is handed on, a list is looked through by the library.
  intentionallyNotExported: ['OpDefinition', 'ManyOp', 'Batched'],
  validation: { notExported: true, invalidLink: true, notDocumented: false },
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
})
const project = await app.convert()
if (project === undefined) process.exit(1)
app.validate(project)
for (const { name, where } of undocumented(project)) app.logger.error(`${name} (${where}) has no doc comment`)
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1)
await app.generateOutputs(project)

/** All but the members of an object type in the middle of something: what stands before that says what they are. Of a type with a name each member needs its own. */
function undocumented(project) {
  const kinds = ReflectionKind.Variable | ReflectionKind.Class | ReflectionKind.Interface | ReflectionKind.TypeAlias | ReflectionKind.Property | ReflectionKind.GetSignature | ReflectionKind.CallSignature
  return project.getReflectionsByKind(kinds)
    .filter((reflection) => !reflection.hasComment() && !isCovered(reflection))
    .map((reflection) => ({ name: reflection.getFullName(), where: reflection.sources?.[0]?.fileName ?? reflection.parent?.sources?.[0]?.fileName ?? '' }))
}

function isCovered(reflection) {
  const { parent } = reflection
  return parent?.kindOf(ReflectionKind.TypeLiteral) === true && (parent.parent?.kindOf(ReflectionKind.TypeAlias) !== true || reflection.kindOf(ReflectionKind.CallSignature))
}
