// A real OpenID Connect provider on a free port of loopback. Prints its issuer,
// then obeys lines on standard input: "rotate" signs with a new key (the old one
// stays listed), "drop" lists the new keys only. Answers "done" to each.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The packages are not beside this file.
const [, , packages, audience, ...clients] = process.argv;
const found = createRequire(`${packages}/`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(found));

const kinds = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};
let generation = 0;
const made = () => {
  generation += 1;
  return Object.entries(kinds).map(([alg, pair]) => ({
    ...pair().privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${generation}`,
  }));
};

let keys = made();
let provider;
const server = createServer((request, response) => provider.callback()(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const begin = () => {
    provider = new Provider(issuer, {
      jwks: { keys },
      clients: clients.map((client_id) => ({
        client_id, client_secret: 'a secret of the tests', grant_types: ['client_credentials'],
        redirect_uris: [], response_types: [],
      })),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          // The last part of a resource names the algorithm.
          getResourceServerInfo: (_context, resource) => ({
            scope: '', audience: resource.includes('other') ? 'urn:other' : audience, accessTokenFormat: 'jwt',
            accessTokenTTL: 300, jwt: { sign: { alg: resource.split(':').at(-1) } },
          }),
        },
      },
      extraTokenClaims: (_context, token) => ({ groups: [token.clientId] }),
    });
  };
  begin();
  console.log(issuer);
  createInterface({ input: process.stdin }).on('line', (line) => {
    if (line === 'rotate') keys = [...made(), ...keys];
    if (line === 'drop') keys = keys.slice(0, Object.keys(kinds).length);
    begin();
    console.log('done');
  }).on('close', () => process.exit(0));
});
