import { graphql } from 'react-relay';

export const signIn = graphql`
  mutation AccountSignInMutation($input: SignInInput!) {
    signIn(input: $input) {
      tokens {
        accessToken
        expiresAt
      }
      userErrors {
        code
        field
        message
      }
    }
  }
`;

export const signOut = graphql`
  mutation AccountSignOutMutation {
    signOut {
      sessionsEnded
      userErrors {
        message
      }
    }
  }
`;
