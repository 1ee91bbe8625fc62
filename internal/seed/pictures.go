package seed

import "net/http"

func Pictures() http.Handler { return http.NotFoundHandler() }
