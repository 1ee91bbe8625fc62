import { graphql } from 'react-relay';

export const query = graphql`
  query OrdersQuery($first: Int!, $after: String) {
    viewer {
      name
      email
      ...Orders_orders @arguments(first: $first, after: $after)
    }
  }
`;

export const orders = graphql`
  fragment Orders_orders on User
  @refetchable(queryName: "OrdersPaginationQuery")
  @argumentDefinitions(first: { type: "Int", defaultValue: 10 }, after: { type: "String" }) {
    orders(first: $first, after: $after) @connection(key: "Orders_orders") {
      totalCount
      edges {
        node {
          ...Orders_order
        }
      }
    }
  }
`;

export const order = graphql`
  fragment Orders_order on Order @refetchable(queryName: "OrdersOrderRefetchQuery") {
    number
    status
    placedAt
    total {
      amount
      currency
    }
    shippingAddress {
      name
      country
    }
    lines {
      title
      quantity
      variant {
        ...Catalogue_variant
        product {
          ...Catalogue_product
        }
      }
    }
    payments {
      status
      amount {
        ...Catalogue_money
      }
    }
  }
`;
