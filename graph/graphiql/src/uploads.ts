// Where an operation takes files, and which file goes where. Decides only: knows no page and no network.

import {
  type DocumentNode,
  type GraphQLInputType,
  type GraphQLNamedInputType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type TypeNode,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  Kind,
} from 'graphql';

const UPLOAD = 'Upload';
const ITEM = '*'; // in a place: any item of a list

export type Variables = Record<string, unknown>;

/** The one of that name, or the only one: just after a change of tabs, GraphiQL names that of the tab before. */
export function operationOf(document?: DocumentNode, name?: string): OperationDefinitionNode | undefined {
  const operations = document?.definitions.filter((each) => each.kind === Kind.OPERATION_DEFINITION) ?? [];
  const named = operations.find((each) => each.name?.value === name);
  return named ?? (operations.length === 1 ? operations[0] : undefined);
}

/** Paths such as `variables.file`, `variables.input.files.*`. Without a schema input objects stay closed. */
export function placesOf(operation?: OperationDefinitionNode, schema?: GraphQLSchema | null): string[] {
  return (operation?.variableDefinitions ?? []).flatMap(({ variable, type }) =>
    placesOfNode(type, `variables.${variable.name.value}`, schema),
  );
}

function placesOfNode(node: TypeNode, path: string, schema?: GraphQLSchema | null): string[] {
  if (node.kind === Kind.NON_NULL_TYPE) return placesOfNode(node.type, path, schema);
  if (node.kind === Kind.LIST_TYPE) return placesOfNode(node.type, `${path}.${ITEM}`, schema);
  if (node.name.value === UPLOAD) return [path];
  const type = schema?.getType(node.name.value);
  return isInputType(type) ? placesOfType(type, path, []) : [];
}

function placesOfType(type: GraphQLInputType, path: string, above: GraphQLNamedInputType[]): string[] {
  if (isNonNullType(type)) return placesOfType(type.ofType, path, above);
  if (isListType(type)) return placesOfType(type.ofType, `${path}.${ITEM}`, above);
  if (type.name === UPLOAD) return [path];
  if (!isInputObjectType(type) || above.includes(type)) return []; // an input that holds itself has no end
  return Object.values(type.getFields()).flatMap((field) =>
    placesOfType(field.type, `${path}.${field.name}`, [...above, type]),
  );
}

/** The paths that can be proposed to `count` files: each place once, a list as often as there are files. */
export function proposals(places: readonly string[], count: number): string[] {
  return places.flatMap((place) => {
    const last = place.lastIndexOf(ITEM);
    if (last < 0) return [place];
    const outer = place.slice(0, last).replaceAll(ITEM, '0');
    return Array.from({ length: count }, (_, item) => outer + item + place.slice(last + ITEM.length));
  });
}

/** A path for each file: the one that was chosen for it, else the next one that is free, else none (''). */
export function pathsFor(chosen: readonly (string | null)[], places: readonly string[]): string[] {
  const free = proposals(places, chosen.length).filter((path) => !chosen.includes(path));
  return chosen.map((path) => path ?? free.shift() ?? '');
}

/** Whether the path begins with a variable of the operation; what does not is not sent. */
export function leadsInto(operation: OperationDefinitionNode, path: string): boolean {
  const [root, name] = path.split('.');
  const known = (operation.variableDefinitions ?? []).some(({ variable }) => variable.name.value === name);
  return root === 'variables' && known;
}

/** The variables with null at each path, as the multipart request specification has files. */
export function withNulls(variables: Variables, paths: readonly string[]): Variables {
  const root: Variables = { variables: structuredClone(variables) };
  for (const path of paths) {
    const keys = path.split('.');
    let at = root;
    for (const [number, key] of keys.slice(0, -1).entries()) {
      const isList = /^\d+$/.test(keys[number + 1] ?? '');
      if (typeof at[key] !== 'object' || at[key] === null) at[key] = isList ? [] : {};
      at = at[key] as Variables;
    }
    at[keys.at(-1) ?? ''] = null;
  }
  return root.variables as Variables;
}
