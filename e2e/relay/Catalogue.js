import { graphql } from 'react-relay';

export const query = graphql`
  query CatalogueQuery($words: String, $filter: ProductFilter, $sort: ProductSort, $first: Int!, $after: String) {
    ...Catalogue_products @arguments(words: $words, filter: $filter, sort: $sort, first: $first, after: $after)
    categories {
      id
      slug
      name
    }
  }
`;

export const products = graphql`
  fragment Catalogue_products on Query
  @refetchable(queryName: "CatalogueProductsPaginationQuery")
  @argumentDefinitions(
    words: { type: "String" }
    filter: { type: "ProductFilter" }
    sort: { type: "ProductSort" }
    first: { type: "Int", defaultValue: 20 }
    after: { type: "String" }
    last: { type: "Int" }
    before: { type: "String" }
  ) {
    products(query: $words, filter: $filter, sort: $sort, first: $first, after: $after, last: $last, before: $before)
      @connection(key: "Catalogue_products", filters: ["query", "filter", "sort"]) {
      totalCount
      facets {
        vendors {
          value
          count
        }
      }
      edges {
        node {
          ...Catalogue_product
        }
      }
    }
  }
`;

export const product = graphql`
  fragment Catalogue_product on Product {
    slug
    title
    vendor
    createdAt
    metadata
    priceRange {
      min {
        ...Catalogue_money
      }
    }
    variants {
      ...Catalogue_variant
    }
    media {
      url
      alt
    }
  }
`;

export const variant = graphql`
  fragment Catalogue_variant on Variant {
    sku
    title
    optionValues {
      name
      value
    }
    price {
      ...Catalogue_money
    }
    availability {
      inStock
      quantity
    }
  }
`;

export const money = graphql`
  fragment Catalogue_money on Money @inline {
    amount
    currency
  }
`;
