package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"emporium/graph"
)

// trust returns the trusted documents of the configuration. A bad one is an error.
func (a *App) trust() (graph.Trust, error) {
	t := graph.Trust{Mode: graph.TrustMode(a.cfg.TrustedMode), Clients: map[string]graph.TrustMode{}}
	for client, mode := range a.cfg.TrustedClients {
		t.Clients[client] = graph.TrustMode(mode)
	}
	if len(a.cfg.TrustedDocuments) == 0 {
		return t, nil
	}
	var problems []error
	if t.Documents, problems = graph.LoadTrusted(a.cfg.TrustedDocuments, graph.Limits(a.cfg.Limits)); len(problems) > 0 {
		return t, fmt.Errorf("TRUSTED_DOCUMENTS:\n%w", errors.Join(problems...))
	}
	a.log.Info("trusted documents", "documents", t.Documents.Len(), "mode", a.cfg.TrustedMode)
	return t, nil
}

func (p *program) documentsCheck(_ context.Context, c *cli.Command) error {
	if !c.Args().Present() {
		return errors.New("name the manifests: files, or directories with files in .json")
	}
	cfg, _, err := p.config()
	if err != nil {
		return err
	}
	documents, problems := graph.LoadTrusted(c.Args().Slice(), graph.Limits(cfg.Limits))
	for _, problem := range problems {
		fmt.Fprintln(p.out, problem)
	}
	for _, f := range documents.Files {
		fmt.Fprintf(p.out, "%s: %d documents (%s)\n", f.Name, f.Documents, f.Format)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems", len(problems))
	}
	fmt.Fprintf(p.out, "%d different documents, all good\n", documents.Len())
	return nil
}
