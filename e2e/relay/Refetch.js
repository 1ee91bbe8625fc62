import { graphql } from 'react-relay';

export const node = graphql`
  query RefetchNodeQuery($id: ID!) {
    node(id: $id) {
      __typename
      ...Catalogue_product @alias
      ...Catalogue_variant @alias
      ...Orders_order @alias
      ...Orders_orders @alias
    }
  }
`;

export const nodes = graphql`
  query RefetchNodesQuery($ids: [ID!]!) {
    nodes(ids: $ids) {
      id
      ... on Variant {
        availability {
          inStock
        }
      }
      ...Orders_order @alias
    }
  }
`;
