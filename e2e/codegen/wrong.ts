// What must not compile: each line after a comment with an error that is expected.

import type { ResultOf, VariablesOf } from '@graphql-typed-document-node/core';
import { myOrders, productPage, stockAdjust } from './operations';

declare const product: NonNullable<ResultOf<typeof productPage>['product']>;

// TS2339: a field that was not asked for
export const description = product.description;
// TS18047: a field that may be null
export const least = product.priceRange.min;
// TS2322: a variable of another type
export const first: VariablesOf<typeof myOrders> = { first: '10' };
// TS2741: a variable that is missing
export const slug: VariablesOf<typeof productPage> = {};
// TS2322: a value that the enum does not have
export const reason: VariablesOf<typeof stockAdjust>['input']['reason'] = 'STOLEN';
