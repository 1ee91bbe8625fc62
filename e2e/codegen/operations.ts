import { graphql } from './generated';

export const productPage = graphql(`
  query ProductPage($slug: String!) {
    product(slug: $slug) {
      id
      title
      createdAt
      priceRange {
        min {
          amount
          currency
        }
      }
      ...Variants
    }
  }
`);

export const variants = graphql(`
  fragment Variants on Product {
    variants {
      id
      sku
      availability {
        inStock
        quantity
      }
    }
  }
`);

export const myOrders = graphql(`
  query MyOrders($first: Int!, $after: String) {
    viewer {
      name
      orders(first: $first, after: $after) {
        nodes {
          number
          status
          total {
            amount
          }
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  }
`);

export const stockAdjust = graphql(`
  mutation StockAdjust($input: StockAdjustInput!, $key: String!) {
    stockAdjust(input: $input, idempotencyKey: $key) {
      variant {
        id
        inventory {
          onHand
        }
      }
      userErrors {
        code
        message
      }
    }
  }
`);

export const stockChanged = graphql(`
  subscription StockChanged($variantIds: [ID!]!) {
    stockChanged(variantIds: $variantIds) {
      variant {
        id
        availability {
          quantity
        }
      }
    }
  }
`);
