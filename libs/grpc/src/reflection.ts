import { status as Status } from '@grpc/grpc-js';
import { descriptors, reflection, reflectionAlpha } from '@xylem/wire';
import type { MethodBinding } from './api.ts';
import { DescriptorIndex } from './descriptor-index.ts';
import { handleStream } from './handlers.ts';

/**
 * grpc.reflection, v1 and v1alpha (the two differ in their package only; tools in use speak either). Our files declare
 * no extensions, so the two questions about extensions are answered with what there is: nothing.
 */

type Request = reflection.ServerReflectionRequest;
type Response = reflection.ServerReflectionResponse;
type Answer = NonNullable<Response['messageResponse']>;

let sharedIndex: DescriptorIndex | undefined;

/** @param services full names of what the server serves, in any order. */
export function reflectionBindings(services: Iterable<string>): readonly MethodBinding[] {
  const names = [...services].sort();
  const answer = (request: Request): Response => ({
    validHost: request.host,
    originalRequest: request,
    // Built at the first question: most servers are never asked.
    messageResponse: answerTo(request, names, (sharedIndex ??= new DescriptorIndex(descriptors))),
  });
  return [
    handleStream(reflection.ServerReflectionService.serverReflectionInfo, async (stream) => {
      for await (const request of stream) {
        stream.send(answer(request));
        await stream.drained();
      }
    }),
    handleStream(reflectionAlpha.ServerReflectionService.serverReflectionInfo, async (stream) => {
      for await (const request of stream) {
        stream.send(answer(request));
        await stream.drained();
      }
    }),
  ];
}

function answerTo(request: Request, services: readonly string[], index: DescriptorIndex): Answer {
  const asked = request.messageRequest;
  switch (asked?.$case) {
    case 'listServices':
      return {
        $case: 'listServicesResponse',
        value: { service: services.map((name) => ({ name })) },
      };
    case 'fileByFilename':
      return files(index.withImports(asked.value), `no file ${asked.value}`);
    case 'fileContainingSymbol':
      return files(index.withImports(index.fileOfSymbol(asked.value)), `no symbol ${asked.value}`);
    case 'fileContainingExtension':
      return notFound(`${asked.value.containingType} has no extensions`);
    case 'allExtensionNumbersOfType':
      if (index.fileOfSymbol(asked.value) === undefined) return notFound(`no message ${asked.value}`);
      return {
        $case: 'allExtensionNumbersResponse',
        value: { baseTypeName: asked.value, extensionNumber: [] },
      };
    case undefined:
      return error(Status.INVALID_ARGUMENT, 'the request asks nothing');
  }
}

function files(found: readonly Buffer[], missing: string): Answer {
  if (found.length === 0) return notFound(missing);
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: [...found] } };
}

function notFound(text: string): Answer {
  return error(Status.NOT_FOUND, text);
}

function error(errorCode: number, errorMessage: string): Answer {
  return { $case: 'errorResponse', value: { errorCode, errorMessage } };
}
