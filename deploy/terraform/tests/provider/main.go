// A stand-in for the Yandex Cloud provider, for tests where no provider registry can be reached: it knows the schema of
// the resources that this configuration uses (schema.json) and nothing else. With it `terraform validate` checks every
// name, type and reference, and `terraform test` plans against mocks. It cannot create anything.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed schema.json
var schemaFile []byte

// A block as schema.json has it. An attribute's text is its type and its flags: "string required", "[string] optional".
type block struct {
	Attributes map[string]string      `json:"attributes"`
	Blocks     map[string]nestedBlock `json:"blocks"`
}

type nestedBlock struct {
	block
	// One block at most, or as many as one likes.
	Many bool `json:"many"`
	// Without it the configuration is refused.
	Required bool `json:"required"`
}

type schemas struct {
	Provider  block            `json:"provider"`
	Resources map[string]block `json:"resources"`
}

func attribute(name, text string) (*tfprotov5.SchemaAttribute, error) {
	words := strings.Fields(text)
	types := map[string]tftypes.Type{
		"string":   tftypes.String,
		"number":   tftypes.Number,
		"bool":     tftypes.Bool,
		"[string]": tftypes.List{ElementType: tftypes.String},
		"{string}": tftypes.Map{ElementType: tftypes.String},
		"<string>": tftypes.Set{ElementType: tftypes.String},
	}
	kind, known := types[words[0]]
	if !known {
		return nil, fmt.Errorf("attribute %s: no type %q", name, words[0])
	}
	return &tfprotov5.SchemaAttribute{
		Name:     name,
		Type:     kind,
		Required: slices.Contains(words, "required"),
		Optional: slices.Contains(words, "optional"),
		Computed: slices.Contains(words, "computed"),
	}, nil
}

func (b block) schema() (*tfprotov5.SchemaBlock, error) {
	out := &tfprotov5.SchemaBlock{}
	for name, text := range b.Attributes {
		made, err := attribute(name, text)
		if err != nil {
			return nil, err
		}
		out.Attributes = append(out.Attributes, made)
	}
	for name, inner := range b.Blocks {
		made, err := inner.schema()
		if err != nil {
			return nil, err
		}
		nested := &tfprotov5.SchemaNestedBlock{TypeName: name, Block: made, Nesting: tfprotov5.SchemaNestedBlockNestingModeList}
		if inner.Required {
			nested.MinItems = 1
		}
		if !inner.Many {
			nested.MaxItems = 1
		}
		out.BlockTypes = append(out.BlockTypes, nested)
	}
	return out, nil
}

// Everything but the schema and its checks is left out: Terraform asks for nothing else here.
type server struct {
	tfprotov5.ProviderServer
	schemas schemas
}

func (s server) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	out := &tfprotov5.GetMetadataResponse{ServerCapabilities: &tfprotov5.ServerCapabilities{}}
	for name := range s.schemas.Resources {
		out.Resources = append(out.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	return out, nil
}

func (s server) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	of := func(b block) (*tfprotov5.Schema, error) {
		made, err := b.schema()
		return &tfprotov5.Schema{Block: made}, err
	}
	provider, err := of(s.schemas.Provider)
	if err != nil {
		return nil, err
	}
	out := &tfprotov5.GetProviderSchemaResponse{Provider: provider, ResourceSchemas: map[string]*tfprotov5.Schema{}}
	for name, resource := range s.schemas.Resources {
		if out.ResourceSchemas[name], err = of(resource); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

func (s server) PrepareProviderConfig(_ context.Context, request *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (s server) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (s server) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func main() {
	var read schemas
	if err := json.Unmarshal(schemaFile, &read); err != nil {
		fmt.Fprintln(os.Stderr, "schema.json:", err)
		os.Exit(1)
	}
	serve := func() tfprotov5.ProviderServer { return server{schemas: read} }
	if err := tf5server.Serve("registry.terraform.io/yandex-cloud/yandex", serve); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
