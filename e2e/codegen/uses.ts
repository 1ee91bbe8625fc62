// A frontend that uses what is generated: it compiles as long as the types are those of the schema.

import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { type FragmentType, useFragment as unmask } from './generated';
import type { OrderStatus } from './generated/graphql';
import { myOrders, productPage, stockAdjust, stockChanged, variants } from './operations';

declare function execute<Data, Variables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data>;

export async function productTitle(slug: string): Promise<string | undefined> {
  const { product } = await execute(productPage, { slug });
  if (!product) {
    return undefined;
  }
  const price: string | undefined = product.priceRange?.min.amount;
  return `${product.title} (${price}, ${inStock(product)} in stock)`;
}

function inStock(product: FragmentType<typeof variants>): number {
  return unmask(variants, product).variants.reduce((sum, { availability }) => sum + availability.quantity, 0);
}

export async function orderStatuses(after?: string): Promise<OrderStatus[]> {
  const { viewer } = await execute(myOrders, { first: 10, after });
  return viewer?.orders?.nodes?.map(({ status }) => status) ?? [];
}

export async function receive(variantId: string, delta: number): Promise<number | undefined> {
  const { stockAdjust: done } = await execute(stockAdjust, { input: { variantId, delta, reason: 'RECEIVED' }, key: 'k' });
  return done?.variant?.inventory?.onHand;
}

export async function quantity(variantId: string): Promise<number | undefined> {
  const { stockChanged: change } = await execute(stockChanged, { variantIds: [variantId] });
  return change?.variant?.availability.quantity;
}
